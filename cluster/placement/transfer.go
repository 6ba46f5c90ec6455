package placement

// TransferTarget returns the voter that leads after the leader: the one with the
// given id, or if that is empty the one that has applied most. Its error is
// ErrUnknownNode, ErrLastVoter or ErrUnfit.
func (v *View) TransferTarget(id string) (Server, error) {
	if id != "" && v.server(id) == nil {
		return Server{}, ErrUnknownNode
	}
	var best Server
	err := ErrLastVoter
	for _, s := range v.Servers {
		n := v.Nodes[s.ID]
		switch {
		case s.ID == v.Self, id == "" && !s.Voter, id != "" && id != s.ID:
		case !s.Voter, !v.reachable(s.ID), !v.ready(s.ID), n.leaves():
			if best.ID == "" {
				err = ErrUnfit
			}
		case best.ID == "" || n.Applied > v.Nodes[best.ID].Applied:
			best, err = s, nil
		}
	}
	return best, err
}

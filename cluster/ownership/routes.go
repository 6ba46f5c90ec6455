package ownership

// Routes tells which nodes are reached, frozen: it is read at every check.
type Routes struct {
	quorum   bool
	majority bool
	nodes    map[string]route
}

// route is how a node is reached.
type route struct {
	reachable bool
	relay     string // a reachable node that reaches it; empty: none
}

// Reachable is a hint: false for a node that has not answered for some beats.
func (r *Routes) Reachable(id string) bool { return r.nodes[id].reachable }

// Relay returns a node that has reached another lately, empty without any.
func (r *Routes) Relay(to string) string { return r.nodes[to].relay }

// EverHadQuorum reports whether this boot has reached a majority. A node that
// knows no other yet must not take itself for cut off.
func (r *Routes) EverHadQuorum() bool { return r.quorum }

// Majority reports whether a majority of the grantors has been reached within
// the last beats. A node is cut off only after a while without.
func (r *Routes) Majority() bool { return r.majority }

// reroute makes the routes anew if another node counts as reachable, or not any
// more, or the majority has changed.
func (n *Node) reroute() {
	if n.majority(n.timing.CutOff) != n.routes.majority {
		n.route()
		return
	}
	for id, p := range n.peers {
		if n.reachable(p) != n.routes.nodes[id].reachable {
			n.route()
			return
		}
	}
}

func (n *Node) reachable(p *Peer) bool { return p.Missed < n.timing.Unreachable }

func (n *Node) route() {
	r := &Routes{quorum: n.everHadQuorum, majority: n.majority(n.timing.CutOff), nodes: make(map[string]route, len(n.peers))}
	for _, id := range n.order {
		p := n.peers[id]
		if !n.reachable(p) {
			continue
		}
		own := r.nodes[id]
		own.reachable = true
		r.nodes[id] = own
		for _, to := range p.Pong.Reaches {
			if at := r.nodes[to]; at.relay == "" && to != id {
				at.relay = id
				r.nodes[to] = at
			}
		}
	}
	n.routes = r
}

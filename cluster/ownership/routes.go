package ownership

// Routes is an immutable snapshot of the reachable nodes, which every check reads.
type Routes struct {
	quorum   bool
	majority bool
	nodes    map[string]route
}

// route is how a node is reached.
type route struct {
	reachable bool
	relay     string // a reachable node that reaches the node; empty: none
}

// Reachable is a hint: it returns false if a node has not answered for some beats.
func (r *Routes) Reachable(id string) bool { return r.nodes[id].reachable }

// Relay returns a node that has recently reached the node to, empty if there is none.
func (r *Routes) Relay(to string) string { return r.nodes[to].relay }

// EverHadQuorum reports whether this boot has ever reached a majority. A node that does not
// know the others yet is not cut off.
func (r *Routes) EverHadQuorum() bool { return r.quorum }

// Majority reports whether a majority of the grantors has answered one of the last
// Timing.CutOff beats. If not, the node is cut off.
func (r *Routes) Majority() bool { return r.majority }

// reroute computes the routes again if the reachability of a node or of a majority has
// changed.
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

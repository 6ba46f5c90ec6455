package limiter

import "time"

// SettleWalk is the way of one settlement or release through the cluster, as the node
// makes it that a client asked. Like Walk it is a value without goroutines, clock or I/O:
// Next returns the next step, and the driver makes it and reports the outcome.
//
// Only the owner of the account knows the reservation, and no fallback may settle in its
// place. So the walk asks the holders of the account in order (a successor may be the
// owner by a later map) until one decides, and begins again while the partition may be on
// its way from one owner to the next. The zero SettleWalk begins.
type SettleWalk struct {
	holders [3]string // of the round under way
	at      int       // the holder that is asked
	begun   bool
	began   time.Duration
}

// Next returns the next step, given the time, the part of the map in force that holds the
// account, and what became of the step before: AskNode, SettleHere, AwaitPartition (for a
// role change; then comes Pending), or an end. A walk begins with Pending too.
func (w *SettleWalk) Next(now time.Duration, self string, part *Part, out Outcome) Step {
	switch out {
	case Decided:
		return Step{Do: Answer}
	case Pending:
		if !w.begun {
			w.begun, w.began = true, now
		}
		w.holders, w.at = part.Holders, 0
	default:
		w.at++
	}
	for ; w.at < len(w.holders); w.at++ {
		switch id := w.holders[w.at]; id {
		case "":
		case self:
			return Step{Do: SettleHere}
		default:
			return Step{Do: AskNode, Node: id, For: settleHop}
		}
	}
	if now-w.began >= arriveFor {
		return Step{Do: AnswerNotOwner}
	}
	return Step{Do: AwaitPartition, For: settleEvery}
}

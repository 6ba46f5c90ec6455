package limiter

import (
	"testing"
	"time"

	"quorate/limiter/bucket"
)

func movingTo(from, to string) Part {
	p := holders(from, to, "n3")
	p.Moving = true
	return p
}

// A recovery of an earlier map may end after the partition has come by a handoff. It
// must not touch the buckets of the owner that this node is by then.
func TestLateRecoveryChangesNoBucketOfAnOwner(t *testing.T) {
	g := newTrio(perMinute("llm", bucket.Requests, 100))
	g.rule.Mode = bucket.Async         // no copy is waited for
	g.adopt(holders("n2", "n1", "n3")) // n2 recovers
	late := g.epoch
	g.adopt(movingTo("n1", "n2"))
	if g.nodes[1].ImportPartitions(g.epoch, PartitionSnapshot{}) != 1 {
		t.Fatal("not imported")
	}
	g.must(t, 1, bucket.Check{Account: "a", Requests: 60})
	g.must(t, 1, bucket.Check{Account: "a", Requests: 30}) // counted apart: the bucket is published by now
	g.nodes[1].FinishRecovery(late, []int{0})
	g.adopt(holders("n1", "n3", ""))
	if u := g.nodes[1].FallbackUsages(); len(u) != 1 || u[0].Units != 30 {
		t.Errorf("the former owner reports %+v, want the 30 that it admitted", u)
	}
}

// The same handoff may come twice, because its answer was lost. The second must not
// take back what was decided since the first.
func TestImportOfAnOwnedPartitionChangesNothing(t *testing.T) {
	g := newTrio(perMinute("llm", bucket.Requests, 100))
	g.rule.Mode = bucket.Async // no copy is waited for
	l := g.nodes[1]
	l.cfg.Reservations = Reservations{TTL: time.Minute, Most: 10, NewID: func(string) string { return "new" }}
	g.adopt(movingTo("n1", "n2"))
	m := PartitionSnapshot{Reservations: []ReservationSnapshot{{ID: "r", Account: "a"}}}
	if l.ImportPartitions(g.epoch, m) != 1 {
		t.Fatal("not imported")
	}
	g.must(t, 1, bucket.Check{Account: "a", Requests: 40})
	s := bucket.Settlement{Account: "a", Reservation: "r"}
	if what, err := l.Settle(&s); what != bucket.SettledNow || err != nil {
		t.Fatal(what, err)
	}
	l.importPartition(m) // as if it passed the role check before the first import ended
	if got := g.left(t, 1); got != 60 {
		t.Errorf("%d left, want 60", got)
	}
	if what, err := l.Settle(&s); what != bucket.SettledBefore || err != nil {
		t.Errorf("settled again: %v, %v", what, err)
	}
}

package exchange

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"quorate/limiter/bucket"
)

// many is more buckets in a partition, with names that are long, than one message
// holds.
const many = 15_000

func nth(i int) string { return fmt.Sprintf("customer-%0110d", i) }

func daily() bucket.Scoped {
	return bucket.NewScoped("llm", bucket.Limit{Unit: bucket.Tokens, Limit: 1000, Burst: 1000, Window: 24 * time.Hour}, bucket.SourceTier)
}

func manyAccounts(n *network, t *testing.T) {
	n.rule.Mode = bucket.Async
	for i := range many {
		n.own(t, "n1", bucket.Check{Account: nth(i), Tokens: 900})
		if i%5000 == 0 {
			n.pass(10 * time.Millisecond) // more would wait than a sender lets
		}
	}
	n.pass(time.Second)
}

// wantAll fails for buckets that a node does not know to have been used.
func wantAll(t *testing.T, n *network, node string) {
	t.Helper()
	lost := 0
	for i := range many {
		if got := n.left(t, node, nth(i)); got > 200 {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("%s has lost %d of %d buckets", node, lost, many)
	}
}

func TestLargePartitionIsHandedOffInPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, daily())
		manyAccounts(n, t)
		var ids []bucket.Settlement
		for range 3 {
			d := n.own(t, "n1", bucket.Check{Account: "a", Tokens: 1, Reserve: true})
			ids = append(ids, bucket.Settlement{Account: "a", Reservation: d.Reservation})
		}
		n.adopt(true, "n1", "n2", "n3")
		n.pass(2 * time.Second)
		wantAll(t, n, "n2")
		for i := range ids {
			if what, err := n.nodes["n2"].Local.Settle(&ids[i]); what != bucket.SettledNow || err != nil {
				t.Errorf("reservation %d: %v, %v", i, what, err)
			}
		}
	})
}

// A piece that is lost begins the partition anew, and nothing of it is missing.
func TestPieceThatIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, daily())
		manyAccounts(n, t)
		hands := 0
		n.lose(func(_, _ string, kind byte) bool {
			if kind == kindHandoff {
				hands++
			}
			return kind == kindHandoff && hands%7 == 4 && hands < 20
		})
		n.adopt(true, "n1", "n2", "n3")
		n.pass(10 * time.Second)
		if n.nodes["n2"].Local.Importing(1) {
			t.Fatal("not handed over")
		}
		wantAll(t, n, "n2")
		if len(n.nodes["n2"].incoming) != 0 {
			t.Error("pieces are left")
		}
	})
}

// The pieces of two tries do not mix: they are not cut at the same places.
func TestPiecesOfAnotherTryAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, daily())
		e := n.nodes["n2"]
		n.lose(func(string, string, byte) bool { return true })
		n.adopt(true, "n1", "n2", "n3")
		give := func(try uint64, at int, last bool) int {
			return e.importPieces(n.epoch, try, []piece{{at: at, last: last}})
		}
		for i, c := range []struct {
			try  uint64
			at   int
			last bool
			want int
		}{
			{1, 1, false, 0}, // the first is missing
			{1, 0, false, 1},
			{1, 2, true, 0}, // the second is missing
			{1, 1, false, 1},
			{1, 1, false, 0}, // again
			{2, 2, true, 0},  // another try's
			{2, 0, false, 1},
			{1, 2, true, 0},
			{2, 1, true, 1},
		} {
			if got := give(c.try, c.at, c.last); got != c.want {
				t.Errorf("step %d, %+v: %d taken", i, c, got)
			}
		}
		if e.Local.Importing(0) {
			t.Error("not taken over")
		}
	})
}

// A new owner that has no copy of its own fetches all of another's.
func TestLargePartitionIsFetchedInSlices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, daily())
		n.lose(func(_, to string, _ byte) bool { return to == "n2" })
		manyAccounts(n, t)
		n.lose(func(from, to string, _ byte) bool { return from == "n1" || to == "n1" })
		n.adopt(false, "n2", "n3")
		n.pass(2 * time.Second)
		wantAll(t, n, "n2")
	})
}

package ledger_test

import (
	"errors"
	"testing"

	"pgregory.net/rapid"

	"quorate/fsm/ledger"
)

const start = 1000 * 24 * hour // a time of the log

// timed returns a state in which the log's time limits the issue times of entries.
func timed(t testing.TB) *ledger.State {
	t.Helper()
	s, err := ledger.NewState()
	if err != nil {
		t.Fatal(err)
	}
	s.Apply(1, &ledger.Command{Time: start, Ops: []ledger.Op{{Kind: ledger.OpVersion, Version: 4}}})
	return s
}

// issued is a purchase of $5 with an issue time.
func issued(account, key string, at int64) ledger.Op {
	o := purchase(account, key, "5")
	o.Issued = at
	return o
}

func TestAnIssueTimeAheadOfTheLogIsRefused(t *testing.T) {
	s := timed(t)
	year2099 := int64(4_070_908_800_000)
	for i, at := range []int64{start + ledger.IssuedAhead + 1, year2099} {
		r := apply(s, uint64(i+2), start, issued("acme", "k", at))
		if !errors.Is(r.Err, ledger.ErrIssuedInFuture) || s.Account("acme") != nil {
			t.Errorf("issued %d ms ahead: %v", at-start, r.Err)
		}
	}
	// The refusals used up no key.
	if r := apply(s, 4, start, issued("acme", "k", start+ledger.IssuedAhead)); r.Err != nil || r.Replayed {
		t.Errorf("a minute ahead: %+v", r)
	}
	if r := apply(s, 5, start, issued("acme", "k", year2099)); r.Err != nil || !r.Replayed {
		t.Errorf("a known key: %+v", r)
	}
}

// Replicas that run an earlier program apply such an entry, so this program must too.
func TestBelowItsVersionAnIssueTimeAheadIsApplied(t *testing.T) {
	s := mustState(t)
	apply(s, 1, start, ledger.Op{Kind: ledger.OpVersion, Version: 3})
	if r := apply(s, 2, start, issued("acme", "k", start+2*ledger.IssuedAhead)); r.Err != nil {
		t.Error(r.Err)
	}
}

// TestAnEntryWithAnIssueTimeCountsOnce: an entry that is repeated with its issue time is
// never applied twice, whatever that time is, although its key is forgotten in between.
func TestAnEntryWithAnIssueTimeCountsOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, err := ledger.NewState()
		if err != nil {
			t.Fatal(err)
		}
		s.Apply(1, &ledger.Command{Time: start, Ops: []ledger.Op{{Kind: ledger.OpVersion, Version: 4}}})
		s.KeepKeys(rapid.IntRange(1, 4).Draw(t, "keys kept"))
		now, index := int64(start), uint64(1)
		at := map[string]int64{}
		applied := map[string]int{}
		for range rapid.IntRange(1, 60).Draw(t, "entries") {
			now += rapid.SampledFrom([]int64{0, 0, 1, 10, 59_000, 60_000, 61_000}).Draw(t, "later")
			index++
			key := rapid.StringMatching("[a-h]").Draw(t, "key")
			if _, ok := at[key]; !ok {
				at[key] = now + rapid.SampledFrom([]int64{-1, 0, 1, 30_000, 60_000, 60_001, 3_600_000}).Draw(t, "the client's clock is ahead by")
			}
			r := s.Apply(index, &ledger.Command{Time: now, Ops: []ledger.Op{issued("acme", key, at[key])}})[0]
			if r.Err == nil && !r.Replayed {
				if applied[key]++; applied[key] > 1 {
					t.Fatalf("%s was applied %d times", key, applied[key])
				}
			}
		}
	})
}

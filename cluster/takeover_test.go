package cluster

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"quorate/cluster/ownership"
	"quorate/cluster/placement"
	"quorate/fsm/ledger"
)

// However pings are delayed, lost and answered late, once the leader's wait is
// over the old owner holds nothing, on a clock that is slower by the drift.
func TestNoLeaseOutlastsTheTakeoverWait(t *testing.T) {
	const length = 2 * time.Second
	grantors := []string{"a", "b", "c"}
	maps := []*ledger.Map{
		{Members: []ledger.Member{{ID: "o", Boot: 1}}, Places: [][3]uint16{{0, ledger.NoMember, ledger.NoMember}}},
		{Places: [][3]uint16{{ledger.NoMember, ledger.NoMember, ledger.NoMember}}},
	}
	for i, m := range maps {
		m.Epoch, m.Grantors, m.Lease, m.Drift = uint64(i+1), grantors, length, length/100
	}
	waited, held := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		owner := ownership.New(ledger.Member{ID: "o", Boot: 1}, ownership.DefaultTiming())
		owner.SetPeers(grantors)
		owner.Adopt(maps[0])
		others := map[string]*ownership.Node{}
		for _, id := range grantors {
			others[id] = ownership.New(ledger.Member{ID: id, Boot: 1}, ownership.DefaultTiming())
			others[id].Applied(maps[0], true)
		}
		applied := map[string]uint64{} // what the grantors have applied
		heard := map[string]uint64{}   // what the leader has heard of that
		wait := placement.NewTakeoverWait(maps[1])
		var sent []ownership.Message
		var now time.Duration
		for range rapid.IntRange(1, 200).Draw(rt, "steps") {
			now += time.Duration(rapid.IntRange(0, 300).Draw(rt, "ms")) * time.Millisecond
			slow := now * 100 / 101 // the owner's clock, as slow as the drift allows
			switch rapid.IntRange(0, 3).Draw(rt, "what") {
			case 0:
				sent = append(sent, owner.Renew(slow)...)
			case 1: // a ping arrives, or is lost if it is too late
				if len(sent) > 0 {
					i := rapid.IntRange(0, len(sent)-1).Draw(rt, "ping")
					var p ownership.Pong
					others[sent[i].To].Answer(&sent[i].Ping, now, &p)
					owner.Pong(sent[i].To, sent[i].Ping, &p, slow)
					sent = append(sent[:i:i], sent[i+1:]...)
				}
			case 2:
				id := rapid.SampledFrom(grantors).Draw(rt, "grantor")
				applied[id] = 2
				others[id].Applied(maps[1], true)
			case 3:
				id := rapid.SampledFrom(grantors).Draw(rt, "heard")
				heard[id] = applied[id]
			}
			over, holds := wait.Observe(func(id string) uint64 { return heard[id] }, now), owner.Held().Valid(0, slow)
			if over {
				waited++
			}
			if holds {
				held++
			}
			if over && holds {
				rt.Fatalf("at %s the owner still holds", now)
			}
		}
	})
	if waited == 0 || held == 0 {
		t.Errorf("the wait was over %d times, the owner held %d times: nothing was tried", waited, held)
	}
}

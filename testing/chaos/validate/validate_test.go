package validate

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"quorate/testing/chaos/model"
)

const (
	burst = 600
	rate  = 10.0
)

// history is a short run without faults in which all is well. Each test spoils
// one thing.
func history() *model.History {
	h := &model.History{
		Nodes:   []string{"n1", "n2", "n3"},
		Audited: true,
		Seconds: map[string][]model.Second{"n1": {{Checks: 10}}},
		Looked:  map[string]map[int]uint64{"a": {0: 7, 1: 9}},
		Content: map[string]string{"n1": "same", "n2": "same", "n3": "same"},
		Ops: []model.Op{
			{Account: "a", Type: model.Purchase, Key: 0, Amount: 5, Asked: 1, Answered: 2, Tries: 1, Outcome: model.Applied, Index: 7, Balances: model.Balances{Purchased: 5, Lifetime: 5}},
			{Account: "a", Type: model.Usage, Key: 1, Amount: 2, Asked: 3, Answered: 4, Tries: 1, Outcome: model.Applied, Index: 9, Balances: model.Balances{Purchased: 3, Lifetime: 5}},
			{Account: "a", Type: model.Read, Asked: 5, Answered: 6, Tries: 1, Outcome: model.Applied, Balances: model.Balances{Purchased: 3, Lifetime: 5}},
		},
		Buckets: []*model.Bucket{{Account: "hot", Burst: burst, Rate: rate, Owners: []model.Owner{{Node: "n1"}}}},
	}
	for _, n := range h.Nodes {
		h.Final = append(h.Final, model.FinalAccount{Node: n, Account: "a", Balances: model.Balances{Purchased: 3, Lifetime: 5}})
		h.Idle = append(h.Idle, model.Resources{Node: n, Goroutines: 50, Files: 20, Heap: 1 << 20})
		h.End = append(h.End, model.Resources{Node: n, Goroutines: 55, Files: 21, Heap: 2 << 20})
	}
	admit(h, burst, time.Second)
	return h
}

// admit adds admissions at an instant.
func admit(h *model.History, units int, at time.Duration) {
	for range units {
		h.Buckets[0].Admits = append(h.Buckets[0].Admits, model.Admission{Asked: at, Answered: at + time.Millisecond, Units: 1})
	}
}

// asFallback marks the last admissions as decided by a fallback.
func asFallback(h *model.History, units int) {
	all := h.Buckets[0].Admits
	for i := range units {
		all[len(all)-1-i].Degraded = true
	}
}

func fault(h *model.History, kind model.Kind, start, over time.Duration, nodes ...string) {
	h.AddFault(&model.Fault{Name: string(kind), Kind: kind, Nodes: nodes, Hurt: nodes, Start: start, Heal: over, Over: over, HurtUntil: over})
	// An entry after it.
	key, index := 1+len(h.Faults()), uint64(10+len(h.Faults()))
	sum := model.Balances{Purchased: 3 + int64(len(h.Faults())), Lifetime: 5 + int64(len(h.Faults()))}
	h.Ops = append(h.Ops, model.Op{Account: "a", Type: model.Purchase, Key: key, Amount: 1, Asked: over + 1, Answered: over + 2, Tries: 1, Outcome: model.Applied, Index: index, Balances: sum})
	h.Looked["a"][key] = index
	for i := range h.Final {
		h.Final[i].Balances = sum
	}
}

// TestEachFaultOfAHistoryIsFound spoils one thing at a time: the invariant that
// is named then, and no other, must fail.
func TestEachFaultOfAHistoryIsFound(t *testing.T) {
	for _, test := range []struct {
		name  string
		want  string // the invariants that fail, with commas
		spoil func(*model.History)
	}{
		{"nothing", "", func(*model.History) {}},
		{"a lost key", "each entry exactly once", func(h *model.History) {
			delete(h.Looked["a"], 1)
			for i := range h.Final {
				h.Final[i].Balances = model.Balances{Purchased: 5, Lifetime: 5}
			}
		}},
		{"a lost key that only a read shows", "linearizable ledger", func(h *model.History) { h.Ops[2].Balances.Purchased = 5 }},
		{"a key applied twice", "each entry exactly once", func(h *model.History) {
			for i := range h.Final {
				h.Final[i].Balances = model.Balances{Purchased: 8, Lifetime: 10}
			}
		}},
		{"a key applied twice on one node", "each entry exactly once", func(h *model.History) {
			h.Final[1].Balances = model.Balances{Purchased: 1, Lifetime: 5}
		}},
		{"a key applied again as it was sent again", "linearizable ledger,each entry exactly once", func(h *model.History) {
			again := h.Ops[0]
			again.Asked, again.Answered, again.Index, again.Balances = 7, 8, 10, model.Balances{Purchased: 8, Lifetime: 10}
			h.Ops = append(h.Ops, again)
		}},
		{"a key that moved", "each entry exactly once", func(h *model.History) { h.Looked["a"][0] = 8 }},
		{"an account missing on one node", "each entry exactly once", func(h *model.History) { h.Final = h.Final[1:] }},
		{"an answer that no order explains", "linearizable ledger", func(h *model.History) { h.Ops[1].Balances.Purchased = 4 }},
		{"an entry of unknown outcome that was applied", "", func(h *model.History) {
			h.Ops = append(h.Ops, model.Op{Account: "a", Type: model.Purchase, Key: 2, Amount: 1, Asked: 2, Tries: 2, Outcome: model.Unknown})
			h.Looked["a"][2] = 12
			for i := range h.Final {
				h.Final[i].Balances = model.Balances{Purchased: 4, Lifetime: 6}
			}
		}},
		{"an entry of unknown outcome that was not", "", func(h *model.History) {
			h.Ops = append(h.Ops, model.Op{Account: "a", Type: model.Purchase, Key: 2, Amount: 1, Asked: 2, Tries: 2, Outcome: model.Unknown})
		}},
		{"an end that nobody saw", "each entry exactly once,same state on all nodes", func(h *model.History) { h.Audited = false }},
		{"states that differ", "same state on all nodes", func(h *model.History) { h.Content["n2"] = "other" }},
		{"a state that nobody saw", "same state on all nodes", func(h *model.History) { delete(h.Content, "n3") }},
		{"one unit too much", "over-admission", func(h *model.History) { admit(h, 1, time.Second) }},
		{"what came back", "", func(h *model.History) { admit(h, 10, 2*time.Second) }},
		{"more than came back", "over-admission", func(h *model.History) { admit(h, 12, 2*time.Second) }},
		{"a window that has slid on", "", func(h *model.History) {
			h.Buckets[0].Window = time.Minute
			admit(h, burst, 61001*time.Millisecond)
		}},
		{"what would have come back, in a sliding window", "over-admission", func(h *model.History) {
			h.Buckets[0].Window = time.Minute
			admit(h, 1, 60*time.Second)
		}},
		{"more than a sliding window, long after a death", "over-admission", func(h *model.History) {
			h.Buckets[0].Window = time.Minute
			fault(h, model.Kill, 2*time.Second, 4*time.Second, "n1")
			admit(h, 30, 4*time.Second)
			admit(h, burst+1, 70*time.Second)
		}},
		{"what a fallback node admitted while a handoff took long", "", func(h *model.History) {
			fault(h, model.Move, 2*time.Second, 3*time.Second, "n1")
			admit(h, 2, 2500*time.Millisecond)
			asFallback(h, 2)
			admit(h, 30, 4*time.Second)
		}},
		{"more than a fallback node admitted in a handoff", "over-admission", func(h *model.History) {
			fault(h, model.Move, 2*time.Second, 3*time.Second, "n1")
			admit(h, 2, 2500*time.Millisecond)
			asFallback(h, 2)
			admit(h, 31, 4*time.Second)
		}},
		{"more than a fallback node may in a handoff", "over-admission", func(h *model.History) {
			fault(h, model.Move, 2*time.Second, 3*time.Second, "n1")
			admit(h, 20+60+5, 3*time.Second-time.Millisecond)
			asFallback(h, 20+60+5)
		}},
		{"what a fallback node admitted after a handoff", "over-admission", func(h *model.History) {
			fault(h, model.Move, 2*time.Second, 3*time.Second, "n1")
			admit(h, 32, 4*time.Second)
			asFallback(h, 2)
		}},
		{"the slack of an owner's death", "", func(h *model.History) {
			fault(h, model.Kill, 2*time.Second, 4*time.Second, "n1")
			admit(h, 30+30, 4*time.Second)
		}},
		{"more than the slack", "over-admission", func(h *model.History) {
			fault(h, model.Kill, 2*time.Second, 4*time.Second, "n1")
			admit(h, 30+32, 4*time.Second)
		}},
		{"a slack for a bucket that was exhausted", "over-admission", func(h *model.History) {
			h.Buckets[0].Denials = []time.Duration{1500 * time.Millisecond}
			fault(h, model.Kill, 2*time.Second, 4*time.Second, "n1")
			admit(h, 30+3, 4*time.Second)
		}},
		{"a slack for a death of somebody else", "over-admission", func(h *model.History) {
			fault(h, model.Kill, 2*time.Second, 4*time.Second, "n2")
			admit(h, 30+2, 4*time.Second)
		}},
		{"a slack long after the death", "over-admission", func(h *model.History) {
			fault(h, model.Kill, 2*time.Second, 4*time.Second, "n1")
			h.Buckets[0].Admits = nil
			admit(h, burst+5, 10*time.Second)
		}},
		{"a share that is paid back", "", func(h *model.History) {
			fault(h, model.CutOff, 2*time.Second, 12*time.Second, "n1")
			admit(h, 100+200, 12*time.Second)
			admit(h, 250, 60*time.Second)
			admit(h, 560, 112*time.Second)
		}},
		{"a share that is not paid back", "over-admission", func(h *model.History) {
			fault(h, model.CutOff, 2*time.Second, 12*time.Second, "n1")
			admit(h, 100+200, 12*time.Second)
			admit(h, 400, 60*time.Second)
			admit(h, 600, 112*time.Second)
		}},
		{"what is above two bursts at a heal is forgiven", "", func(h *model.History) {
			fault(h, model.Flapping, 2*time.Second, 64*time.Second, "n1", "n2")
			admit(h, 320, 10*time.Second)
			admit(h, 300, 30*time.Second)
			admit(h, 700, 63*time.Second)
			admit(h, 340, 150*time.Second)
		}},
		{"what is below is not", "over-admission", func(h *model.History) {
			fault(h, model.Flapping, 2*time.Second, 64*time.Second, "n1", "n2")
			admit(h, 320, 10*time.Second)
			admit(h, 300, 30*time.Second)
			admit(h, 700, 63*time.Second)
			admit(h, 380, 150*time.Second)
		}},
		{"a death whose copies were cut off", "", func(h *model.History) {
			fault(h, model.CutOff, 2*time.Second, 4*time.Second, "n2")
			fault(h, model.Kill, 3*time.Second, 4*time.Second, "n1")
			admit(h, 600, 4*time.Second)
		}},
		{"the same a moment later", "over-admission", func(h *model.History) {
			fault(h, model.CutOff, 2*time.Second, 4*time.Second, "n2")
			fault(h, model.Kill, 5*time.Second, 6*time.Second, "n1")
			admit(h, 600, 6*time.Second)
		}},
		{"the budgets of two fallback nodes, while messages are late", "", func(h *model.History) {
			fault(h, model.Loss, 2*time.Second, 5*time.Second, "n1", "n2", "n3")
			admit(h, 30+2*(60+10), 4*time.Second)
		}},
		{"more than two fallback nodes may admit", "over-admission", func(h *model.History) {
			fault(h, model.Loss, 2*time.Second, 5*time.Second, "n1", "n2", "n3")
			admit(h, 30+2*(60+10)+1, 4*time.Second)
		}},
		{"an owner that goes on without a majority", "one owner at a time", func(h *model.History) {
			fault(h, model.CutOff, 2*time.Second, 12*time.Second, "n1")
			h.Buckets[0].Admits = append(h.Buckets[0].Admits, model.Admission{Asked: 6 * time.Second, Answered: 7 * time.Second, Units: 1, By: "n1"})
		}},
		{"an owner that was not cut off yet", "", func(h *model.History) {
			fault(h, model.CutOff, 2*time.Second, 12*time.Second, "n1")
			h.Faults()[0].Struck = 4 * time.Second
			h.Buckets[0].Admits = append(h.Buckets[0].Admits, model.Admission{Asked: 6 * time.Second, Answered: 7 * time.Second, Units: 1, By: "n1"})
		}},
		{"an owner that somebody hears again", "", func(h *model.History) {
			fault(h, model.CutOff, 2*time.Second, 12*time.Second, "n1")
			h.Faults()[0].Mending = 6500 * time.Millisecond
			h.Buckets[0].Admits = append(h.Buckets[0].Admits, model.Admission{Asked: 6 * time.Second, Answered: 7 * time.Second, Units: 1, By: "n1"})
		}},
		{"a fallback node without a majority", "", func(h *model.History) {
			fault(h, model.CutOff, 2*time.Second, 12*time.Second, "n1")
			h.Buckets[0].Admits = append(h.Buckets[0].Admits, model.Admission{Asked: 6 * time.Second, Answered: 7 * time.Second, Units: 1, By: "n1", Degraded: true})
		}},
		{"a planned move that costs", "over-admission", func(h *model.History) {
			fault(h, model.Move, 2*time.Second, 4*time.Second, "n1")
			admit(h, 30+2, 4*time.Second)
		}},
		{"no entry for long beside a majority", "entries go on", func(h *model.History) {
			fault(h, model.CutOff, 2*time.Second, 20*time.Second, "n2")
		}},
		{"no entry for long in two faults without one", "", func(h *model.History) {
			fault(h, model.CutOff, 2*time.Second, 30*time.Second, "n2")
			fault(h, model.Freeze, 2*time.Second, 30*time.Second, "n1")
		}},
		{"no entry for long in two faults of five nodes", "entries go on", func(h *model.History) {
			for _, n := range []string{"n4", "n5"} {
				h.Nodes, h.Content[n] = append(h.Nodes, n), "same"
				h.Final = append(h.Final, model.FinalAccount{Node: n, Account: "a"})
				h.Idle, h.End = append(h.Idle, model.Resources{Node: n}), append(h.End, model.Resources{Node: n})
			}
			fault(h, model.CutOff, 2*time.Second, 30*time.Second, "n2")
			fault(h, model.Freeze, 2*time.Second, 30*time.Second, "n1")
		}},
		{"no entry for long without one", "", func(h *model.History) {
			fault(h, model.NoMajority, 2*time.Second, 20*time.Second, "n1", "n2", "n3")
		}},
		{"terms that begin while one link is cut", "entries go on", func(h *model.History) {
			fault(h, model.OneLink, 2*time.Second, 4*time.Second, "n1", "n2")
			h.Views = []model.View{{At: time.Second, Term: 2}, {At: 3 * time.Second, Term: 3}, {At: 4 * time.Second, Term: 4}}
		}},
		{"a term that begins while one link is cut", "", func(h *model.History) {
			fault(h, model.OneLink, 2*time.Second, 4*time.Second, "n1", "n2")
			h.Views = []model.View{{At: time.Second, Term: 2}, {At: 3 * time.Second, Term: 3}, {At: 5 * time.Second, Term: 4}}
		}},
		{"a check that failed", "service", func(h *model.History) {
			h.Failures = []model.Failure{{Node: "n2", Asked: time.Second, Answered: 2 * time.Second, What: "refused"}}
		}},
		{"checks that failed beyond those that are kept", "service", func(h *model.History) {
			h.Seconds["n2"] = []model.Second{{Checks: 9, Failed: 9, Beyond: 4}}
		}},
		{"the same at a dead node", "", func(h *model.History) {
			fault(h, model.Kill, time.Second, 4*time.Second, "n2")
			h.Seconds["n2"] = []model.Second{{}, {Checks: 9, Failed: 9, Beyond: 4}}
		}},
		{"a check that failed at a dead node", "", func(h *model.History) {
			fault(h, model.Kill, time.Second, 4*time.Second, "n2")
			h.Failures = []model.Failure{{Node: "n2", Asked: time.Second, Answered: 2 * time.Second, What: "refused"}}
		}},
		{"silence of a living node", "service", func(h *model.History) {
			fault(h, model.Kill, time.Second, 4*time.Second, "n2")
			h.Gaps = []model.Gap{{Node: "n3", From: 2 * time.Second, To: 3100 * time.Millisecond}}
		}},
		{"silence of who asks", "", func(h *model.History) {
			h.Gaps = []model.Gap{{Node: "n3", From: 2 * time.Second, To: 3100 * time.Millisecond}}
			h.Stalls = []model.Gap{{From: 2 * time.Second, To: 3 * time.Second}}
		}},
		{"a cluster that was never whole again", "whole again after each fault", func(h *model.History) {
			fault(h, model.Kill, time.Second, 4*time.Second, "n2")
			h.Faults()[0].Unsettled = "no leader"
		}},
		{"goroutines that stay", "no leaks", func(h *model.History) { h.End[0].Goroutines = 500 }},
		{"files that stay", "no leaks", func(h *model.History) { h.End[2].Files = 500 }},
		{"memory that stays", "no leaks", func(h *model.History) { h.End[2].Heap = 1 << 30 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := history()
			test.spoil(h)
			var failed, details []string
			r := All(h)
			for _, one := range r.Results {
				if !one.OK {
					failed, details = append(failed, one.Invariant), append(details, one.Details...)
				}
			}
			if got := strings.Join(failed, ","); got != test.want {
				t.Errorf("failed %q, want %q: %s", got, test.want, strings.Join(details, "; "))
			}
			if r.OK() != (test.want == "") {
				t.Errorf("OK is %v", r.OK())
			}
		})
	}
}

// TestRecovery wants the time of which no fault's cause is the reason.
func TestRecovery(t *testing.T) {
	fault := func(start, heal, over time.Duration) *model.Fault {
		return &model.Fault{Start: start * time.Second, Heal: heal * time.Second, Over: over * time.Second}
	}
	join := fault(10, 12, 30)
	for _, c := range []struct {
		others []*model.Fault
		want   time.Duration
	}{
		{nil, 18},
		{[]*model.Fault{fault(1, 9, 11), fault(31, 33, 34)}, 18}, // before and after
		{[]*model.Fault{fault(9, 15, 30)}, 15},                   // from the heal on
		{[]*model.Fault{fault(14, 15, 30), fault(1, 13, 14)}, 16},
		{[]*model.Fault{fault(14, 20, 30), fault(15, 19, 30), fault(18, 22, 30)}, 10}, // one in the other
		{[]*model.Fault{fault(14, 31, 32), fault(11, 0, 0)}, 18},                      // whole all the same
	} {
		if got := join.Recovery(append(c.others, join)); got != c.want*time.Second {
			t.Errorf("beside %d others: %s, want %d s", len(c.others), got, c.want)
		}
	}
}

// TestSummary wants a line a name, with the one that came closest to its bound.
func TestSummary(t *testing.T) {
	fault := func(name string, took time.Duration, over, bound float64) Cost {
		return Cost{Fault: &model.Fault{Name: name}, Recovery: took, Over: over, Bound: bound}
	}
	got := Summary([]Cost{
		fault("kill", 3*time.Second, -5, 30), fault("freeze", time.Second, 4, 100), fault("kill", 5*time.Second, 20, 30), fault("kill", 4*time.Second, 25, 90),
	})
	if len(got) != 2 || got[0].Name != "kill" || got[0].Times != 3 || got[0].Worst.Over != 20 || got[0].Median != 4*time.Second || got[0].Most != 5*time.Second || got[1].Times != 1 {
		t.Errorf("%+v", got)
	}
}

// TestAllowance holds the sweep over intervals against a look at each on its own.
func TestAllowance(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	kinds := []model.Kind{model.Kill, model.Freeze, model.CutOff, model.Flapping, model.Move, model.Loss, model.KillAll}
	paid := 0
	for range 200 {
		h := &model.History{Nodes: []string{"n1", "n2", "n3"}}
		b := &model.Bucket{Burst: 60, Rate: 10, Owners: []model.Owner{{Node: "n1"}}}
		for range 1 + rng.IntN(6) {
			start := time.Duration(rng.Int64N(int64(time.Minute)))
			f := &model.Fault{Kind: kinds[rng.IntN(len(kinds))], Nodes: h.Nodes[:1+rng.IntN(2)], Start: start, Over: start + time.Duration(rng.Int64N(int64(20*time.Second)))}
			if rng.IntN(3) == 0 {
				f.Hurt = f.Nodes
			}
			h.AddFault(f)
		}
		faults := h.Faults()
		a := newAllowance(h, b, faults)
		for range 5 {
			from := time.Duration(rng.Int64N(int64(time.Minute)))
			peak, peaks := 0.0, map[time.Duration]float64{} // by interval's end
			for to := from; to < 3*time.Minute; to += 1 + time.Duration(rng.Int64N(int64(20*time.Second))) {
				peak = max(peak, float64(rng.IntN(200)))
				want, met, forgiven := 0.0, []int(nil), 0.0
				for i, f := range faults {
					if !f.During(from, to) {
						continue
					}
					met = append(met, i)
					one := Bound(h, b, f) + together(h, b, faults, i)
					if from < f.Start && payable(faults, f) && to >= f.Over+time.Duration(one/b.Rate*float64(time.Second)) {
						one = min(one, unstated(h, b))
						for end, p := range peaks {
							if end < f.Over {
								forgiven = max(forgiven, p-b.Burst)
							}
						}
						paid++
					}
					want += one
				}
				want += forgiven
				if got := a.of(from, to, peak); math.Abs(got-want) > 1e-6 {
					t.Fatalf("from %s to %s: %.3f, want %.3f", from, to, got, want)
				}
				if got := a.only(); (len(met) == 1) != (got >= 0) || got >= 0 && got != met[0] {
					t.Fatalf("from %s to %s: the only one is %d of %v", from, to, got, met)
				}
				peaks[to] = peak
			}
		}
	}
	if paid == 0 {
		t.Error("nothing was ever paid back")
	}
}

package replica

import (
	"math"
	"math/big"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"quorate/limiter/bucket"
)

// fallbackBucket is a bucket that a fallback node sees as empty.
func fallbackBucket(l bucket.Limit, nodes int64) FallbackBucket {
	return FallbackBucket{Limit: l, Nodes: nodes, Sharers: 1, Fork: Fork{Spent: -1}}
}

// However often the owner comes and goes and members join and leave, a fallback
// admits a tenth of the burst once, and then its part of the rate.
func TestFallbackBudgetIsNeverGrantedAgain(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := perMinute(rapid.SampledFrom([]int64{5, 100, 601, 10_000}).Draw(rt, "limit"))
		s := NewFallback(1)
		type admitted struct {
			at    time.Duration
			units int64
		}
		var list []admitted
		var now time.Duration
		nodes := int64(3)
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			now += time.Duration(rapid.Int64Range(0, int64(10*time.Second)).Draw(rt, "pause"))
			if rapid.IntRange(0, 5).Draw(rt, "members") == 0 {
				nodes = 7 - nodes // three and four
			}
			j := fallbackBucket(l, nodes)
			if rapid.IntRange(0, 5).Draw(rt, "absorbed") == 0 {
				s.MarkAbsorbed(s.Units)
			}
			if s.Idle(j, now) && rapid.Bool().Draw(rt, "forgotten") {
				s = NewFallback(1) // what is idle may be dropped at any time
			}
			cost := rapid.Int64Range(1, max(1, l.Burst/10)).Draw(rt, "cost")
			if s.Fits(j, cost, now) {
				s.Admit(j, cost, now)
				list = append(list, admitted{now, cost})
			} else if wait := s.Wait(j, false, cost, now); wait <= 0 {
				rt.Fatalf("refused without a wait")
			}
			var sum int64
			for i := len(list) - 1; i >= 0; i-- {
				sum += list[i].units
				most := max(1, l.Burst/10) + refill(l, now-list[i].at)/3 + 1
				if sum > most {
					rt.Fatalf("%d in %s, at most %d", sum, now-list[i].at, most)
				}
			}
		}
	})
}

// A part of a rate is exact: to a nanosecond in a window of more than a century if the
// window has no room for the number of parts.
func TestPartIsExact(t *testing.T) {
	product := func(a, b int64) *big.Int { return new(big.Int).Mul(big.NewInt(a), big.NewInt(b)) }
	rapid.Check(t, func(rt *rapid.T) {
		l := bucket.Limit{
			Limit:  rapid.SampledFrom([]int64{1, 11, 601, 3541, 999_983, bucket.MaxLimit}).Draw(rt, "limit"),
			Window: rapid.SampledFrom([]time.Duration{time.Second, time.Hour, bucket.MaxWindow}).Draw(rt, "window"),
		}
		l.Burst = l.Limit
		parts := rapid.SampledFrom([]int64{1, 2, 3, 12, 60 * 59, 64 * 63, 300 * 299, 10_000 * 9_999}).Draw(rt, "parts")
		p := Part(l, parts, 10)
		if p.Limit < 1 || p.Limit > l.Limit || p.Window < l.Window {
			rt.Fatalf("%+v", p)
		}
		// The time for p.Limit units, times l.Limit.
		exact := new(big.Int).Mul(product(int64(l.Window), parts), big.NewInt(p.Limit))
		late := new(big.Int).Sub(product(int64(p.Window), l.Limit), exact)
		switch {
		case late.Sign() == 0:
		case late.Sign() > 0 && late.Cmp(big.NewInt(l.Limit)) < 0 && p.Window > math.MaxInt64/2:
		case late.Sign() < 0 && p.Limit == 1 && p.Window == math.MaxInt64: // 292 years
		default:
			rt.Fatalf("%d units in %d ns, late by %s/%d ns", p.Limit, p.Window, late, l.Limit)
		}
	})
}

// The product of a long window and the parts of many nodes does not fit: the budget came
// back at the rate of the whole limit.
func TestBudgetOfManyNodesComesBackSlowly(t *testing.T) {
	l := bucket.Limit{Limit: 1001, Burst: 1001, Window: bucket.MaxWindow}
	b := fallbackBucket(l, 60)
	b.Sharers = 59
	s := NewFallback(1)
	if !s.Fits(b, 1, 0) {
		t.Fatal("no room at first")
	}
	s.Admit(b, 1, 0)
	unit := l.Window/1001*(60*59) + l.Window%1001*(60*59)/1001 // the time for one unit, rounded down
	if s.Fits(b, 1, unit-time.Second) {
		t.Error("a unit came back early")
	}
	if !s.Fits(b, 1, unit+time.Second) {
		t.Error("no unit has come back")
	}
}

// A fallback node sees the copy and all that is known to be missing in it.
func TestFallbackNeedsRoomInTheCopyToo(t *testing.T) {
	l := perMinute(600)
	for _, c := range []struct {
		owed, pending, cost int64
		want                bool
	}{{0, 0, 60, true}, {0, 0, 61, false}, {595, 0, 5, true}, {595, 0, 6, false}, {590, 5, 5, true}, {590, 6, 5, false}} {
		j := fallbackBucket(l, 3)
		j.Copy, j.Pending = bucket.State{Units: c.owed}, c.pending
		if got := NewFallback(1).Fits(j, c.cost, 0); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// Nodes that decide because none knows which of them should have one fallback's part
// together.
func TestManyFallbacksShareOnePart(t *testing.T) {
	j := fallbackBucket(perMinute(600), 3)
	j.Sharers = 2
	var sum int64
	for range 2 {
		s := NewFallback(1)
		for s.Fits(j, 1, 0) {
			s.Admit(j, 1, 0)
			sum++
		}
	}
	if sum != 60 {
		t.Errorf("%d, want 60 together", sum)
	}
	small := fallbackBucket(perMinute(10), 3)
	if small.Sharers = 2; NewFallback(1).Fits(small, 1, 0) {
		t.Error("a small burst leaves nothing for each")
	}
}

// A share begins with a part of what was owed, and what was admitted as a fallback
// before is of it.
func TestShareBeginsWithWhatIsOwed(t *testing.T) {
	l := perMinute(600)
	for _, c := range []struct{ owed, pending, stood, want int64 }{
		{0, 0, 0, 200}, {300, 0, 0, 100}, {299, 0, 0, 100}, {300, 30, 0, 90}, {0, 0, 50, 150},
	} {
		j := fallbackBucket(l, 3)
		j.Copy, j.Pending = bucket.State{Units: c.owed}, c.pending
		s := NewFallback(1)
		if c.stood > 0 {
			if !s.Fits(j, c.stood, 0) {
				t.Fatal("no room")
			}
			s.Admit(j, c.stood, 0)
		}
		if s.ShareFits(j, c.want+1, 0) || !s.ShareFits(j, c.want, 0) {
			t.Errorf("%+v: %+v", c, s.share)
		}
		s.AdmitShare(j, c.want, 0)
		if s.ShareFits(j, 1, 0) || s.Wait(j, true, 1, 0) != 300*time.Millisecond {
			t.Errorf("%+v: after that, wait %s", c, s.Wait(j, true, 1, 0))
		}
	}
}

func TestUsageIsReportedUntilItIsAbsorbed(t *testing.T) {
	j := fallbackBucket(perMinute(600), 3)
	j.Fork = Fork{Spent: 7, Units: 5, Age: time.Second}
	s := NewFallback(9)
	if _, ok := s.Usage(0); ok {
		t.Error("nothing was admitted")
	}
	later := j
	later.Fork.Spent = 99
	if !s.Fits(j, 5, time.Minute) {
		t.Fatal("no room")
	}
	s.Admit(j, 5, time.Minute)
	if !s.Fits(later, 2, time.Minute+time.Second) {
		t.Fatal("no room")
	}
	s.Admit(later, 2, time.Minute+time.Second)
	want := FallbackUsage{SourceTotal: SourceTotal{9, 7}, Age: 3 * time.Second, Fork: Fork{Spent: 7, Units: 5, Age: 4 * time.Second}}
	if got, ok := s.Usage(time.Minute + 3*time.Second); !ok || got != want {
		t.Errorf("%+v, want %+v: the fork is that of the first", got, want)
	}
	s.MarkAbsorbed(5)
	if _, ok := s.Usage(2 * time.Minute); !ok || s.Idle(j, time.Hour) {
		t.Error("two are not absorbed")
	}
	s.MarkAbsorbed(4) // late
	s.MarkAbsorbed(99)
	if _, ok := s.Usage(2 * time.Minute); ok || !s.Idle(j, time.Hour) || s.Idle(j, time.Minute+time.Second) {
		t.Error("all are absorbed; its budget is whole again after a while")
	}
	s.AdmitFull(later, 1, time.Hour)
	if got, _ := s.Usage(time.Hour); got.Fork.Spent != 99 || got.Age != 0 || got.Units != 8 {
		t.Errorf("%+v: want a new fork", got)
	}
}

func TestAbsorbCountsEachUnitOnce(t *testing.T) {
	l := perMinute(600) // 10 a second
	fork := func(spent, units int64, age time.Duration) Fork { return Fork{Spent: spent, Units: units, Age: age} }
	for name, c := range map[string]struct {
		use, spent int64
		empty      time.Duration
		report     FallbackUsage
		want       int64
	}{
		"on top":                         {100, 100, 0, FallbackUsage{SourceTotal: SourceTotal{1, 50}, Fork: fork(-1, 0, 0)}, 150},
		"at most two bursts":             {600, 600, 0, FallbackUsage{SourceTotal: SourceTotal{1, 5000}, Fork: fork(-1, 0, 0)}, 1200},
		"never less than it is":          {1500, 1500, 0, FallbackUsage{SourceTotal: SourceTotal{1, 50}, Fork: fork(-1, 0, 0)}, 1500},
		"of an empty one what came back": {0, 0, time.Minute, FallbackUsage{SourceTotal: SourceTotal{1, 50}, Age: 3 * time.Second, Fork: fork(-1, 0, 0)}, 20},
		"as long as it was empty":        {0, 0, time.Second, FallbackUsage{SourceTotal: SourceTotal{1, 50}, Age: 3 * time.Second, Fork: fork(-1, 0, 0)}, 40},
		"from the fork on":               {100, 300, 0, FallbackUsage{SourceTotal: SourceTotal{1, 50}, Fork: fork(200, 90, 10*time.Second)}, 140},
		"no more than both":              {100, 300, 0, FallbackUsage{SourceTotal: SourceTotal{1, 50}, Fork: fork(200, 200, 10*time.Second)}, 150},
		"all of it has come back":        {0, 300, 0, FallbackUsage{SourceTotal: SourceTotal{1, 50}, Fork: fork(200, 90, time.Minute)}, 0},
		"the owner knew less":            {30, 30, 0, FallbackUsage{SourceTotal: SourceTotal{1, 50}, Fork: fork(200, 100, 4*time.Second)}, 100 + 30 + 50 - 40},
	} {
		s := &Stream{}
		s.Admitted(c.spent) // all of it itself
		o := OwnedBucket{Limit: l, Use: bucket.State{Units: c.use}, Empty: c.empty, Spent: c.spent}
		use, missing := s.Absorb(o, c.report)
		if use.Units != c.want || missing != c.report.Units {
			t.Errorf("%s: owes %d, want %d; %d were missing", name, use.Units, c.want, missing)
		}
		o.Use = use
		if again, missing := s.Absorb(o, c.report); again != use || missing != 0 {
			t.Errorf("%s, again: owes %d, %d were missing", name, again.Units, missing)
		}
		c.report.Units += 3
		if _, missing := s.Absorb(o, c.report); missing != 3 {
			t.Errorf("%s, three more: %d were missing", name, missing)
		}
	}
}

// An owner and a fallback node that both go on from one usage bound, against one bucket that
// takes all that both admit: after the heal no less is owed than what both spent
// since less what has come back, up to two bursts, and no more than by that one.
func TestHealAgainstOneBucketOfAll(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := perMinute(rapid.SampledFrom([]int64{60, 600}).Draw(rt, "limit"))
		var owner, all, linear bucket.State
		var now time.Duration
		spent := int64(0)
		take := func(s *bucket.State, cost int64) {
			*s = s.Decay(l, now).Add(cost)
			s.At = now
		}
		for range rapid.IntRange(0, 5).Draw(rt, "before") {
			now += time.Duration(rapid.IntRange(0, 5000).Draw(rt, "pause")) * time.Millisecond
			cost := rapid.Int64Range(0, l.Burst/3).Draw(rt, "cost")
			spent += cost
			take(&owner, cost)
			take(&all, cost)
		}
		linear = owner
		fork, forked := Fork{Spent: spent, Units: owner.Units}, now
		var fb int64
		both := int64(0)
		for range rapid.IntRange(0, 20).Draw(rt, "after") {
			now += time.Duration(rapid.IntRange(0, 9000).Draw(rt, "pause")) * time.Millisecond
			cost := rapid.Int64Range(0, l.Burst/3).Draw(rt, "cost")
			take(&all, cost)
			if both += cost; rapid.Bool().Draw(rt, "fb") {
				fb += cost
			} else {
				spent += cost
				take(&owner, cost)
			}
		}
		take(&owner, 0)
		take(&all, 0)
		s := &Stream{}
		fork.Age = now - forked
		use, _ := s.Absorb(OwnedBucket{Limit: l, Use: owner, Empty: Empty(owner, l.Window, now), Spent: spent}, FallbackUsage{SourceTotal: SourceTotal{1, fb}, Age: fork.Age, Fork: fork})
		if fb == 0 {
			return
		}
		if least := min(2*l.Burst, linear.Units+both-refill(l, fork.Age)-1); use.Units < least {
			rt.Fatalf("%d owed, want at least %d", use.Units, least)
		}
		if most := max(owner.Units, all.Units+1); use.Units > most {
			rt.Fatalf("%d owed, one bucket of all owes %d", use.Units, most)
		}
	})
}

// The same of a sliding window: every unit that was admitted by either counts until
// it is a window old, and not for much longer, however often something is absorbed.
func TestHealOfASlidingWindow(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := perMinute(1000)
		l.Algorithm = bucket.SlidingWindow
		const late = 500 * time.Millisecond
		var owner bucket.Window
		var of [2][]SourceTotal // what owner and fallback node have admitted: units by instant
		fb, stream := NewFallback(7), &Stream{}
		now, told := time.Hour, 0
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			now += time.Duration(rapid.IntRange(0, 6000).Draw(rt, "pause")) * time.Millisecond
			cost := rapid.Int64Range(1, 20).Draw(rt, "cost")
			if rapid.Bool().Draw(rt, "owner") {
				owner.Add(l, cost, now)
				of[0] = append(of[0], SourceTotal{uint64(now), cost})
				continue
			}
			fb.AdmitFull(FallbackBucket{Limit: l, Window: &bucket.Window{}, Nodes: 3, Sharers: 1}, cost, now)
			of[1] = append(of[1], SourceTotal{uint64(now), cost})
			if rapid.IntRange(0, 2).Draw(rt, "told") == 0 {
				report, _ := fb.Usage(now)
				told = len(of[1])
				now += time.Duration(rapid.Int64Range(0, int64(late)).Draw(rt, "late"))
				owner = owner.At(l, now)
				stream.Absorb(OwnedBucket{Limit: l, Use: bucket.State{At: now}, Window: &owner}, report)
				fb.MarkAbsorbed(report.Units)
			}
			for _, at := range []time.Duration{now, now + 20*time.Second, now + 50*time.Second} {
				var young, old int64
				for _, c := range slices.Concat(of[0], of[1][:told]) {
					if age := at - time.Duration(c.Source); age < l.Window {
						young += c.Units
					} else if age >= l.Window+2*l.Window/16+late {
						old += c.Units
					}
				}
				var all int64
				for _, c := range slices.Concat(of[0], of[1][:told]) {
					all += c.Units
				}
				w := owner
				if got := w.Use(l, at); got < young || got > all-old {
					rt.Fatalf("%d count, want at least %d that are young and %d that are not old", got, young, all-old)
				}
			}
		}
	})
}

func TestUnionAndPending(t *testing.T) {
	a := []SourceTotal{{1, 5}, {2, 7}}
	got := Union(a, []SourceTotal{{2, 3}, {1, 9}, {3, 1}})
	if len(got) != 3 || UnitsOf(got, 1) != 9 || UnitsOf(got, 2) != 7 || UnitsOf(got, 3) != 1 || UnitsOf(got, 4) != 0 || a[0].Units != 5 {
		t.Errorf("%+v of %+v", got, a)
	}
	if n := Pending([]FallbackUsage{{SourceTotal: SourceTotal{1, 9}}, {SourceTotal: SourceTotal{2, 6}}, {SourceTotal: SourceTotal{4, 2}}}, a); n != 4+0+2 {
		t.Errorf("%d pending, want 6", n)
	}
	for i := range 2 * MaxSources {
		a = Union(a, []SourceTotal{{uint64(i + 10), 1}})
	}
	if len(a) != MaxSources || UnitsOf(a, 2*MaxSources+9) != 1 {
		t.Errorf("%d sources, want the last %d", len(a), MaxSources)
	}
}

// A former owner reports what it took until the next one knows it.
func TestFormerOwnerReportsItsUsage(t *testing.T) {
	s := &Stream{}
	s.Begin(4)
	if s.HasUnabsorbed() {
		t.Error("nothing was taken")
	}
	s.Admitted(30)
	s.Admitted(10)
	r, ok := s.FormerOwnerUsage(100, 500, time.Second)
	if want := (FallbackUsage{SourceTotal: SourceTotal{4, 40}, Age: time.Second, Fork: Fork{Spent: 460, Units: 60, Age: time.Second}}); !ok || r != want {
		t.Errorf("%+v, want %+v", r, want)
	}
	if seen := s.Absorbed(); len(seen) != 1 || seen[0] != (SourceTotal{4, 40}) {
		t.Errorf("%+v: copies hear of it too", seen)
	}
	s.MarkAbsorbed(5, 40)
	s.MarkAbsorbed(4, 39)
	if !s.HasUnabsorbed() {
		t.Error("one is not told")
	}
	if s.MarkAbsorbed(4, 40); s.HasUnabsorbed() {
		t.Error("all is told")
	}
}

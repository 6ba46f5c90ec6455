package bucket_test

import (
	"math"
	"testing"
	"time"

	"quorate/limiter/bucket"
)

// perMinute is a limit whose burst is its limit.
func perMinute(n int64) bucket.Limit {
	return bucket.Limit{Unit: bucket.Requests, Limit: n, Burst: n, Window: time.Minute}
}

// step asks for cost at an instant of simulated time under a limit.
type step struct {
	at        time.Duration
	limit     bucket.Limit
	cost      int64
	admit     bool
	remaining int64         // after the step
	wait      time.Duration // until the cost fits, when it was refused
}

// take decides one cost as an owner does: decay, ask, add.
func take(s bucket.State, l bucket.Limit, now time.Duration, cost int64) (bucket.State, bool) {
	s = s.Decay(l, now)
	if !s.Room(l, cost) {
		return s, false
	}
	return s.Add(cost), true
}

func TestSteps(t *testing.T) {
	const ms = time.Millisecond
	tier1, tier2 := perMinute(600), perMinute(1800)
	bursty := bucket.Limit{Limit: 60, Burst: 100, Window: time.Minute}
	third := bucket.Limit{Limit: 3, Burst: 3, Window: time.Second} // a unit is a third of a second, which no clock shows
	year := bucket.Limit{Limit: 1, Burst: 1, Window: bucket.MaxWindow}
	huge := bucket.Limit{Unit: bucket.Tokens, Limit: bucket.MaxLimit, Burst: bucket.MaxLimit, Window: bucket.MaxWindow}

	tests := []struct {
		name  string
		steps []step
	}{
		{"full, then refused until a unit is back", []step{
			{0, tier1, 600, true, 0, 0},
			{0, tier1, 1, false, 0, 100 * ms},
			{99 * ms, tier1, 1, false, 0, ms},
			{100*ms - 1, tier1, 1, false, 0, 1},
			{100 * ms, tier1, 1, true, 0, 0},
			{100 * ms, tier1, 1, false, 0, 100 * ms},
		}},
		{"refills to the burst and no further", []step{
			{0, tier1, 600, true, 0, 0},
			{time.Hour, tier1, 600, true, 0, 0},
			{time.Hour, tier1, 1, false, 0, 100 * ms},
		}},
		{"the burst is not the rate", []step{
			{0, bursty, 100, true, 0, 0},
			{time.Second, bursty, 2, false, 1, time.Second},
			{2 * time.Second, bursty, 2, true, 0, 0},
		}},
		{"a cost of nothing passes a full bucket", []step{
			{0, tier1, 600, true, 0, 0},
			{0, tier1, 0, true, 0, 0},
		}},
		{"thirds add up to a whole", []step{
			{0, third, 3, true, 0, 0},
			{333_333_333, third, 1, false, 0, 1},
			{333_333_334, third, 1, true, 0, 0},
			{666_666_666, third, 1, false, 0, 1},
			{666_666_667, third, 1, true, 0, 0},
			{999_999_999, third, 1, false, 0, 1},
			{time.Second, third, 1, true, 0, 0},
		}},
		{"refusals between do not disturb the fraction", []step{
			{0, third, 3, true, 0, 0},
			{1, third, 1, false, 0, 333_333_333},
			{2, third, 1, false, 0, 333_333_332},
			{333_333_333, third, 1, false, 0, 1},
			{333_333_334, third, 1, true, 0, 0},
		}},
		{"promotion keeps what was used", []step{
			{0, tier1, 600, true, 0, 0},
			{0, tier2, 1, true, 1199, 0},
			{0, tier2, 1199, true, 0, 0},
			{0, tier2, 1, false, 0, time.Minute/1800 + 1}, // rounded up
		}},
		{"a stretch with a promotion in it decays at the slower rate", []step{
			{0, tier1, 600, true, 0, 0},
			{30 * time.Second, tier2, 0, true, 1500, 0}, // 300 of 600 came back, not 600
			{40 * time.Second, tier2, 0, true, 1800, 0}, // from here at the new rate: 300 in 10 s
		}},
		{"a stretch with a demotion in it decays at the slower rate too", []step{
			{0, tier2, 1800, true, 0, 0},
			{time.Minute, tier1, 1, false, 0, time.Minute + 100*ms}, // owes 1200 of 600
			{time.Minute, tier1, 0, false, 0, time.Minute},          // a bucket in debt refuses even nothing
			{2 * time.Minute, tier1, 0, true, 0, 0},
			{2*time.Minute + 100*ms, tier1, 1, true, 0, 0},
		}},
		{"an instant of the past changes nothing", []step{
			{time.Minute, tier1, 600, true, 0, 0},
			{0, tier1, 1, false, 0, 100 * ms},
			{time.Minute + 100*ms, tier1, 1, true, 0, 0},
		}},
		{"the longest window", []step{
			{0, year, 1, true, 0, 0},
			{bucket.MaxWindow - 1, year, 1, false, 0, 1},
			{bucket.MaxWindow, year, 1, true, 0, 0},
		}},
		{"the largest numbers", []step{
			{0, huge, bucket.MaxCost, true, 0, 0},
			{0, huge, bucket.MaxCost, false, 0, bucket.MaxWindow},
			{bucket.MaxWindow - 1, huge, bucket.MaxCost, false, bucket.MaxLimit - 1, 1},
			{math.MaxInt64, huge, bucket.MaxCost, true, 0, 0},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s bucket.State
			for i, st := range tt.steps {
				var ok bool
				s, ok = take(s, st.limit, st.at, st.cost)
				if ok != st.admit {
					t.Fatalf("step %d: admitted %v, want %v", i, ok, st.admit)
				}
				if got := s.Remaining(st.limit); got != st.remaining {
					t.Errorf("step %d: remaining %d, want %d", i, got, st.remaining)
				}
				if got := s.Wait(st.limit, st.cost); !ok && got != st.wait {
					t.Errorf("step %d: wait %s, want %s", i, got, st.wait)
				}
			}
		})
	}
}

// TestStatus reads the three numbers that users see off buckets in each state.
func TestStatus(t *testing.T) {
	l := bucket.Limit{Limit: 60, Burst: 10, Window: time.Minute} // a unit a second
	half := int64(time.Minute / 2)
	tests := []struct {
		name        string
		units, frac int64
		remaining   int64
		reset, next time.Duration
	}{
		{"nothing owed", 0, 0, 10, 0, 0},
		{"one owed", 1, 0, 9, time.Second, time.Second},
		{"one and a half", 1, half, 8, 1500 * time.Millisecond, 500 * time.Millisecond},
		{"half a unit", 0, half, 9, 500 * time.Millisecond, 500 * time.Millisecond},
		{"full", 10, 0, 0, 10 * time.Second, time.Second},
		{"just above full", 10, half, 0, 10500 * time.Millisecond, 1500 * time.Millisecond},
		{"in debt", 12, 0, 0, 12 * time.Second, 3 * time.Second},
		{"in debt by a fraction more", 12, half, 0, 12500 * time.Millisecond, 3500 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := bucket.State{Units: tt.units, Frac: tt.frac, Rate: l.Limit}
			got := s.Status(bucket.NewScoped("llm", l, bucket.SourceTier))
			if got.Remaining != tt.remaining || got.Reset != tt.reset || got.Next != tt.next {
				t.Errorf("got remaining %d, reset %s, next %s; want %d, %s, %s",
					got.Remaining, got.Reset, got.Next, tt.remaining, tt.reset, tt.next)
			}
			if s.Idle() != (tt.units == 0 && tt.frac == 0) {
				t.Errorf("idle %v", s.Idle())
			}
		})
	}
}

func TestWindows(t *testing.T) {
	good := []struct {
		in   string
		want time.Duration
		out  string
	}{
		{"1s", time.Second, "1s"},
		{"90s", 90 * time.Second, "90s"},
		{"60s", time.Minute, "1m"},
		{"1m", time.Minute, "1m"},
		{"60m", time.Hour, "1h"},
		{"24h", 24 * time.Hour, "1d"},
		{"25h", 25 * time.Hour, "25h"},
		{"31d", bucket.MaxWindow, "31d"},
		{"2678400s", bucket.MaxWindow, "31d"},
	}
	for _, tt := range good {
		got, err := bucket.ParseWindow(tt.in)
		if err != nil || got != tt.want {
			t.Errorf("ParseWindow(%q) = %s, %v; want %s", tt.in, got, err, tt.want)
		}
		if out := bucket.FormatWindow(got); out != tt.out {
			t.Errorf("FormatWindow(%s) = %q, want %q", got, out, tt.out)
		}
	}
	for _, in := range []string{
		"", "s", "1", "0s", "-1s", "+1s", "01s", "1.5s", "1ms", "1ns", "1w", " 1s", "1s ", "1S",
		"32d", "2678401s", "745h", "1m30s", "99999999999999999999s", "1_0s",
	} {
		if got, err := bucket.ParseWindow(in); err == nil {
			t.Errorf("ParseWindow(%q) = %s, want an error", in, got)
		}
	}
}

func TestValidate(t *testing.T) {
	ok := perMinute(600)
	tests := []struct {
		name   string
		change func(*bucket.Limit)
		ok     bool
	}{
		{"as it is", func(*bucket.Limit) {}, true},
		{"limit 0", func(l *bucket.Limit) { l.Limit = 0 }, false},
		{"limit below 0", func(l *bucket.Limit) { l.Limit = -1 }, false},
		{"limit 1", func(l *bucket.Limit) { l.Limit = 1 }, true},
		{"limit at most", func(l *bucket.Limit) { l.Limit = bucket.MaxLimit }, true},
		{"limit above", func(l *bucket.Limit) { l.Limit = bucket.MaxLimit + 1 }, false},
		{"burst 0", func(l *bucket.Limit) { l.Burst = 0 }, false},
		{"burst above", func(l *bucket.Limit) { l.Burst = bucket.MaxLimit + 1 }, false},
		{"window 0", func(l *bucket.Limit) { l.Window = 0 }, false},
		{"window of half a second", func(l *bucket.Limit) { l.Window = time.Second / 2 }, false},
		{"window of a second and a half", func(l *bucket.Limit) { l.Window = 3 * time.Second / 2 }, false},
		{"window at most", func(l *bucket.Limit) { l.Window = bucket.MaxWindow }, true},
		{"window above", func(l *bucket.Limit) { l.Window = bucket.MaxWindow + time.Second }, false},
	}
	for _, tt := range tests {
		l := ok
		tt.change(&l)
		if err := l.Validate(); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestNames(t *testing.T) {
	l := bucket.NewScoped("llm", perMinute(600), bucket.SourceException)
	if l.Name != "llm-requests-1m" || l.Scope != "llm" || l.Source.String() != "exception" {
		t.Errorf("got %+v", l)
	}
	for _, u := range []bucket.Unit{bucket.Requests, bucket.Tokens} {
		if got, ok := bucket.ParseUnit(u.String()); !ok || got != u {
			t.Errorf("unit %v does not survive its name", u)
		}
	}
	if _, ok := bucket.ParseUnit("Tokens"); ok {
		t.Error("a unit's name is case-sensitive")
	}
	c := bucket.Check{Requests: 2, Tokens: 3}
	if c.Cost(bucket.Requests) != 2 || c.Cost(bucket.Tokens) != 3 {
		t.Errorf("costs %d and %d", c.Cost(bucket.Requests), c.Cost(bucket.Tokens))
	}
	if got := bucket.NumReasons.String(); got != "unknown" {
		t.Errorf("a reason that is none is called %q", got)
	}
}

func BenchmarkTake(b *testing.B) {
	l := perMinute(600)
	var s bucket.State
	now := time.Duration(0)
	b.ReportAllocs()
	for b.Loop() {
		now += time.Millisecond
		s, _ = take(s, l, now, 1)
	}
}

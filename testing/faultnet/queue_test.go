package faultnet

import (
	"bytes"
	"slices"
	"testing"
	"time"
)

var begin = time.Unix(1_000_000, 0)

// leave takes out all that waits, and returns it with how long each waited.
func leave(t *testing.T, q *queue) (order []byte, waits []time.Duration) {
	t.Helper()
	for now := begin; ; {
		p, wait, ok := q.next(now)
		switch {
		case ok:
			order, waits = append(order, p.data[0]), append(waits, now.Sub(begin))
		case wait < 0:
			return order, waits
		default:
			now = now.Add(wait)
		}
	}
}

func TestWhatBecomesOfAHundredPackets(t *testing.T) {
	all := make([]byte, 100)
	for i := range all {
		all[i] = byte(i)
	}
	ms := time.Millisecond
	for _, test := range []struct {
		name    string
		cfg     Config
		want    Counts
		left    int
		ordered bool
	}{
		{"nothing", Config{Queue: 1000}, Counts{Read: 100}, 100, true},
		{"late by the same time", Config{Low: 5 * ms, High: 5 * ms, Queue: 1000}, Counts{Read: 100}, 100, true},
		{"late", Config{Low: 5 * ms, High: 50 * ms, Queue: 1000}, Counts{Read: 100}, 100, false},
		{"late, in order", Config{Low: 5 * ms, High: 50 * ms, InOrder: true, Queue: 1000}, Counts{Read: 100}, 100, true},
		{"lost", Config{Loss: 1, Twice: 1, Queue: 1000}, Counts{Read: 100, Lost: 100}, 0, true},
		{"twice", Config{Twice: 1, High: 50 * ms, InOrder: true, Queue: 1000}, Counts{Read: 100, Doubled: 100}, 200, true},
		{"too many", Config{Queue: 30}, Counts{Read: 100, Full: 70}, 30, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			q := newQueue(test.cfg)
			for _, b := range all {
				q.add(begin, ends{0, 1}, []byte{b})
			}
			order, waits := leave(t, q)
			if q.counts != test.want || len(order) != test.left || slices.IsSorted(order) != test.ordered {
				t.Errorf("counts %+v, left %v; want %+v, %d left, in order: %v", q.counts, order, test.want, test.left, test.ordered)
			}
			for _, w := range waits {
				if w < test.cfg.Low || w > test.cfg.High {
					t.Errorf("waited %s, want %s to %s", w, test.cfg.Low, test.cfg.High)
				}
			}
		})
	}
}

// TestChanceIsWhatItIsSaidToBe allows for five standard deviations of a drawn
// share, though the seed makes the draws the same each time.
func TestChanceIsWhatItIsSaidToBe(t *testing.T) {
	q := newQueue(Config{Loss: 0.1, Twice: 0.5, Queue: 100_000, Seed: 7})
	for range 10_000 {
		q.add(begin, ends{0, 1}, []byte{1})
	}
	if c := q.counts; c.Lost < 850 || c.Lost > 1150 || c.Doubled < 4250 || c.Doubled > 4750 {
		t.Errorf("of 10000 packets %d are lost and %d doubled, want about 1000 and 4500", c.Lost, c.Doubled)
	}
}

func TestALinkMeetsTheSameAgainWhateverOthersCarry(t *testing.T) {
	of := func(seed uint64, others bool) []byte {
		q := newQueue(Config{High: time.Second, Loss: 0.2, Twice: 0.2, Queue: 1000, Seed: seed})
		for i := range byte(50) {
			if others {
				q.add(begin, ends{1, 0}, []byte{255})
			}
			q.add(begin, ends{0, 1}, []byte{i})
		}
		order, _ := leave(t, q)
		return slices.DeleteFunc(order, func(b byte) bool { return b == 255 })
	}
	if !bytes.Equal(of(1, false), of(1, true)) {
		t.Error("other links change what one meets")
	}
	if bytes.Equal(of(1, false), of(2, false)) {
		t.Error("the seed does not matter")
	}
}

func TestNonsenseIsNamed(t *testing.T) {
	for _, spoil := range []func(*Config){
		func(c *Config) { c.Low = 1 },
		func(c *Config) { c.Low, c.High = -2, -1 },
		func(c *Config) { c.Loss = 1.1 },
		func(c *Config) { c.Twice = -0.1 },
		func(c *Config) { c.Queue = 0 },
	} {
		c := DefaultConfig()
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		spoil(&c)
		if c.Validate() == nil {
			t.Errorf("%+v is taken", c)
		}
	}
}

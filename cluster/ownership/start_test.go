package ownership

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"quorate/fsm/ledger"
	"quorate/testing/golden"
)

// of returns an incarnation.
func of(b byte) (i Incarnation) {
	i[0] = b
	return i
}

func TestJudge(t *testing.T) {
	start := func(boot uint64, inc byte, index, term uint64) Start {
		return Start{ID: "n2", Boot: boot, Incarnation: of(inc), Index: index, Term: term}
	}
	known := Reported{Boot: 4, Index: 90, Term: 3}
	last := start(4, 1, 7, 1)
	for _, test := range []struct {
		name  string
		known Reported
		last  Start
		alive []Start
		q     Start
		want  Reason
	}{
		{"a node that was never seen", Reported{}, Start{}, nil, start(1, 1, 0, 0), NoReason},
		{"the next boot, with all that the last had", known, last, nil, start(5, 2, 90, 3), NoReason},
		{"the next boot, with more", known, last, nil, start(5, 2, 95, 4), NoReason},
		{"the boot after next: one did not get far", known, last, nil, start(6, 2, 90, 3), NoReason},
		{"a copy of an earlier log", known, last, nil, start(5, 2, 89, 3), OlderLog},
		{"an earlier log of a higher boot", known, last, nil, start(9, 2, 12, 9), OlderLog},
		{"an earlier term", known, last, nil, start(5, 2, 90, 2), OlderTerm},
		{"an earlier boot", known, Start{}, nil, start(3, 2, 90, 3), OlderBoot},
		{"an earlier boot than one permitted", Reported{}, last, nil, start(3, 2, 90, 3), OlderBoot},
		{"the same boot of another process", known, last, nil, start(4, 2, 90, 3), OtherBoot},
		{"the same boot after a program that does not ask", known, Start{}, nil, start(4, 2, 90, 3), NoReason},
		{"the question again", known, last, nil, start(4, 1, 90, 3), NoReason},
		{"itself at its own address", known, last, []Start{start(5, 2, 0, 0)}, start(5, 2, 90, 3), NoReason},
		{"another node at its address", known, last, []Start{{ID: "n3", Boot: 9}}, start(5, 2, 90, 3), NoReason},
		{"another process beside it", known, last, []Start{start(4, 1, 0, 0)}, start(5, 2, 90, 3), OtherAlive},
		{"another process of the same boot", known, last, []Start{start(5, 2, 0, 0), start(5, 3, 0, 0)}, start(5, 2, 90, 3), OtherAlive},
	} {
		if got := Permit(&test.q, test.known, test.last, test.alive); got.Reason != test.want {
			t.Errorf("%s: %+v, want %d", test.name, got, test.want)
		}
	}
}

// TestStartsOfAHistory: over random histories of a node whose directory may be replaced
// by any earlier copy, no start of the newest directory is refused, and none of a
// directory that lacks something that was heard is permitted.
func TestStartsOfAHistory(t *testing.T) {
	type disk struct{ boot, index, term uint64 }
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 1))
		n := New(ledger.Member{ID: "n1", Boot: 1}, DefaultTiming())
		n.SetPeers([]string{"n2"})
		var now time.Duration
		newest, copies := disk{}, []disk{{}}
		var most disk // that this node has heard
		for life := range 12 {
			old := copies[r.IntN(len(copies))]
			q := Start{ID: "n2", Boot: old.boot + 1, Incarnation: of(byte(100 + life)), Index: old.index, Term: old.term}
			switch lacks := old.index < most.index || old.term < most.term || old.boot+1 < most.boot; {
			case n.Start(&q, nil).Reason == NoReason && lacks:
				t.Fatalf("seed %d: %+v may start, and %+v was heard", seed, old, most)
			case n.permitted["n2"] == q:
				newest = old // the node goes on from there
			}
			newest.boot++
			inc := of(byte(life))
			if n.permitted["n2"] == q {
				inc = q.Incarnation
			}
			for range r.IntN(12) {
				q := Start{ID: "n2", Boot: newest.boot, Incarnation: inc, Index: newest.index, Term: newest.term}
				if f := n.Start(&q, nil); f.Reason != NoReason {
					t.Fatalf("seed %d: the newest directory is refused: %+v of %+v", seed, f, q)
				}
				most.boot = newest.boot
				switch r.IntN(4) {
				case 0:
					newest.index += r.Uint64N(5)
				case 1:
					newest.term += r.Uint64N(2)
				case 2:
					now += 100 * time.Millisecond
					p := Pong{Boot: newest.boot, AppliedIndex: newest.index - min(newest.index, r.Uint64N(3)), Term: newest.term}
					n.Pong("n2", Ping{Sent: now - time.Duration(r.IntN(2))*150*time.Millisecond}, &p, now)
					most = disk{max(most.boot, p.Boot), max(most.index, p.AppliedIndex), max(most.term, p.Term)}
				case 3:
					copies = append(copies, newest)
				}
			}
		}
	}
}

func TestStartsStay(t *testing.T) {
	f := golden.Open(t, "testdata/starts.txt")
	for name, q := range map[string]Start{
		"start/first": {ID: "n1", Boot: 1},
		"start":       {ID: "node-0123456789.example", Boot: 300, Incarnation: Incarnation{0: 0xab, 15: 0xcd}, Index: 1 << 40, Term: 70_000},
	} {
		b, err := q.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := DecodeStart(f.Compare(name, b)); err != nil || got != q {
			t.Errorf("%s is read as %+v, %v", name, got, err)
		}
		if got, err := DecodeStart(withFields(t, b, startFields, startFields+3)); err != nil || got != q {
			t.Errorf("%s of a later version is read as %+v, %v", name, got, err)
		}
	}
	for reason := NoReason; reason <= OtherAlive; reason++ {
		q := Refusal{reason, Reported{Boot: 4, Index: 300, Term: 1 << 33}}
		b, err := q.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := DecodeRefusal(f.Compare(fmt.Sprint("refusal/", reason), b)); err != nil || got != q {
			t.Errorf("refusal %d is read as %+v, %v", reason, got, err)
		}
		if text := q.Explain(&Start{ID: "n2"}); reason != NoReason && !strings.Contains(text, "n2") {
			t.Errorf("refusal %d is explained as %q", reason, text)
		}
	}
	if _, err := DecodeStart([]byte{0xc1}); err == nil {
		t.Error("what is no question is read")
	}
	if _, err := DecodeRefusal([]byte{0x94, 0xc2, 1, 1, 1}); err == nil {
		t.Error("what is no answer is read")
	}
}

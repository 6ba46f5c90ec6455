package exchange

import (
	"context"
	"reflect"
	"testing"
	"time"

	"quorate/limiter"
	"quorate/limiter/bucket"
	"quorate/limiter/replica"
	"quorate/testing/golden"
)

// recorder is a Transport that keeps the last message and gives one answer.
type recorder struct{ message, answer []byte }

func (r *recorder) Exchange(_ context.Context, _ string, message []byte) ([]byte, error) {
	r.message = append([]byte(nil), message...)
	return r.answer, nil
}

func goldenID(account string, sliding bool) bucket.ID {
	id := bucket.ID{Account: account, Scope: "llm", Unit: bucket.Tokens, Window: time.Minute}
	if sliding {
		id.Algorithm = bucket.SlidingWindow
	}
	return id
}

func goldenWindow() *bucket.Window {
	w := &bucket.Window{Begin: -3 * time.Second}
	for i := range w.Units {
		w.Units[i] = int64(i * i * i * 20)
	}
	return w
}

func goldenStatements(account string) []limiter.Statement {
	s := limiter.Statement{ID: goldenID(account, false), Epoch: 3}
	s.Seq, s.State, s.Spent = 300, bucket.State{Units: 70_000, Frac: 1 << 33, Rate: 1000}, 1<<40
	s.Absorbed = []replica.Count{{Source: 1<<32 + 5, Units: 12}, {Source: 7, Units: -300}}
	w := limiter.Statement{ID: goldenID(account, true), Epoch: 1}
	w.Seq, w.Sliding, w.Spent = 1, goldenWindow(), -5
	return []limiter.Statement{s, w}
}

func goldenReports() []replica.Report {
	return []replica.Report{
		{Count: replica.Count{Source: 1<<33 + 1, Units: 40}, Age: 1500 * time.Millisecond, Fork: replica.Fork{Spent: -1}},
		{Count: replica.Count{Source: 9, Units: 7}, Age: time.Second, Fork: replica.Fork{Spent: 900, Units: -3, Age: time.Millisecond}},
	}
}

func goldenTallies(account string) []limiter.Tally {
	limit := bucket.Limit{Unit: bucket.Tokens, Limit: 1000, Burst: 2000, Window: time.Minute}
	t := limiter.Tally{ID: goldenID(account, false), Limit: limit, Report: goldenReports()[0]}
	w := limiter.Tally{ID: goldenID(account, true), Limit: limit, Report: goldenReports()[1]}
	w.Limit.Algorithm, w.Limit.Burst, w.Sliding = bucket.SlidingWindow, 1000, goldenWindow()
	return []limiter.Tally{t, w}
}

func goldenKnown(account string) []limiter.Known {
	s, t := goldenStatements(account), goldenTallies(account)
	k := limiter.Known{ID: s[0].ID, State: s[0].State, Empty: 5 * time.Second, Spent: s[0].Spent, Absorbed: s[0].Absorbed, Limit: t[0].Limit, Tallies: goldenReports()}
	w := limiter.Known{ID: s[1].ID, Sliding: goldenWindow(), Limit: t[1].Limit, Tallies: []replica.Report{t[1].Report}}
	return []limiter.Known{k, w}
}

func goldenReserved(account string) []limiter.Reserved {
	k := goldenKnown(account)
	return []limiter.Reserved{
		{ID: "n1-0123456789abcdef", Account: account, Age: 2 * time.Second, Takes: []limiter.Took{
			{Scope: "llm", Limit: k[0].Limit, Units: 50}, {Scope: "llm", Limit: k[1].Limit, Units: 300},
		}},
		{ID: "n1-2", Account: account, Settled: &bucket.Settlement{Account: account, Reservation: "n1-2", Tokens: 44, Amount: 1 << 40}},
	}
}

// TestEncodingsStay: the bytes of what nodes exchange of buckets are those of
// earlier versions, with which this one shares a cluster during an upgrade.
func TestEncodingsStay(t *testing.T) {
	f := golden.Open(t, "testdata/golden.txt")
	sent := &recorder{}
	e := lone()
	e.Transport = sent
	ctx := t.Context()
	// serve returns how another node, which owns the accounts of one letter, copies
	// those of two and awaits those of three, answers a message.
	other := lone()
	serve := func(name string) []byte {
		t.Helper()
		answer, err := other.Serve(f.Compare(name, sent.message))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return f.Compare(name+"/answer", answer)
	}

	statements := append(goldenStatements("ab"), goldenStatements("a")...)
	body := newWriter()
	for i := range statements {
		body.statement(&statements[i])
	}
	to := &sender{e: e, node: "n2"}
	to.sendSome(ctx, statements, body)
	sent.answer = serve("statements")
	if to.sendSome(ctx, statements, body) { // the last is refused
		t.Error("all statements are confirmed")
	}

	tallies := append(goldenTallies("a"), goldenTallies("ab")...)
	body = newWriter()
	for i := range tallies {
		body.tally(&tallies[i])
	}
	e.tellSome(ctx, "n2", tallies, body)
	sent.answer = serve("tallies")
	if !e.tellSome(ctx, "n2", tallies, body) {
		t.Error("the answer to tallies is not understood")
	}

	q := inquiry{parts: []int{1, 2}, slice: 2, of: 300}
	sent.answer = []byte{0}
	_, _ = e.inquire(ctx, "n2", q) // of the message alone
	f.Compare("fetch/slice", sent.message)
	q = inquiry{parts: []int{2}}
	_, _ = e.inquire(ctx, "n2", q)
	serve("fetch")
	body = newWriter()
	known := goldenKnown("ab")
	for i := range known {
		body.known(&known[i])
	}
	w := newWriter()
	w.int(1)
	w.int(0)
	w.append(len(known), body)
	b, err := w.bytes()
	if err != nil {
		t.Fatal(err)
	}
	sent.answer = f.Compare("page", b)
	if got, err := e.inquire(ctx, "n2", q); err != nil || got.whole != 1 || !reflect.DeepEqual(got.known, known) {
		t.Errorf("a page is read as %+v, %v", got, err)
	}

	sent.answer = nil
	e.awaited(ctx, 1, "n2", []int{2})
	sent.answer = serve("await")
	if !e.awaited(ctx, 1, "n2", []int{2}) {
		t.Error("the answer to await is not understood")
	}
	e.awaited(ctx, 9, "n2", []int{0, 2})
	sent.answer = serve("await/no")
	if e.awaited(ctx, 9, "n2", []int{0, 2}) {
		t.Error("the answer to await is not understood")
	}

	p := parcel{try: 300, body: newWriter()}
	p.add(0, &limiter.Move{Partition: 2, Known: goldenKnown("abc"), Reserved: goldenReserved("abc")})
	sent.answer = nil
	e.handParcel(ctx, 1, "n2", &p)
	pieces := newReader(sent.message[1:])
	pieces.uint()
	pieces.uint()
	if got := list(pieces, 3, func() piece { return pieces.piece(3) }); pieces.end() != nil || len(got) != 1 ||
		!reflect.DeepEqual(got[0].Known, goldenKnown("abc")) || !reflect.DeepEqual(got[0].Reserved, goldenReserved("abc")) {
		t.Errorf("a handover is read as %+v, %v", got, pieces.end())
	}
	sent.answer = serve("hand")
	if given, all := e.handParcel(ctx, 1, "n2", &p); given != 1 || !all {
		t.Errorf("the answer to a handover is read as %d partitions, all %v", given, all)
	}

	// The values of messages that are not read again above.
	r := newReader(f.Bytes("statements")[1:])
	if got := list(r, maxBatch, r.statement); r.end() != nil || !reflect.DeepEqual(got, statements) {
		t.Errorf("statements are read as %+v, %v", got, r.end())
	}
	r = newReader(f.Bytes("tallies")[1:])
	if got := list(r, maxBatch, r.tally); r.end() != nil || !reflect.DeepEqual(got, tallies) {
		t.Errorf("tallies are read as %+v, %v", got, r.end())
	}
}

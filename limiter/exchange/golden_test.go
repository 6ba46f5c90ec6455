package exchange

import (
	"context"
	"math"
	"reflect"
	"testing"
	"time"

	"quorate/limiter"
	"quorate/limiter/bucket"
	"quorate/limiter/codec"
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

func goldenBounds(account string) []limiter.UsageBound {
	s := limiter.UsageBound{ID: goldenID(account, false), Origin: 3}
	s.Seq, s.State, s.Spent = 300, bucket.State{Units: 70_000, Frac: 1 << 33, Rate: 1000}, 1<<40
	s.Absorbed = []replica.SourceTotal{{Source: 1<<32 + 5, Units: 12}, {Source: 7, Units: -300}}
	w := limiter.UsageBound{ID: goldenID(account, true), Origin: 1}
	w.Seq, w.Sliding, w.Spent = 1, goldenWindow(), -5
	return []limiter.UsageBound{s, w}
}

func goldenUsages() []replica.FallbackUsage {
	return []replica.FallbackUsage{
		{SourceTotal: replica.SourceTotal{Source: 1<<33 + 1, Units: 40}, Age: 1500 * time.Millisecond, Fork: replica.Fork{Spent: -1}},
		{SourceTotal: replica.SourceTotal{Source: 9, Units: 7}, Age: time.Second, Fork: replica.Fork{Spent: 900, Units: -3, Age: time.Millisecond}},
	}
}

func goldenFallbackUsages(account string) []limiter.FallbackUsage {
	limit := bucket.Limit{Unit: bucket.Tokens, Limit: 1000, Burst: 2000, Window: time.Minute}
	t := limiter.FallbackUsage{ID: goldenID(account, false), Limit: limit, FallbackUsage: goldenUsages()[0]}
	w := limiter.FallbackUsage{ID: goldenID(account, true), Limit: limit, FallbackUsage: goldenUsages()[1]}
	w.Limit.Algorithm, w.Limit.Burst, w.Sliding = bucket.SlidingWindow, 1000, goldenWindow()
	return []limiter.FallbackUsage{t, w}
}

func goldenBuckets(account string) []limiter.BucketSnapshot {
	s, t := goldenBounds(account), goldenFallbackUsages(account)
	k := limiter.BucketSnapshot{ID: s[0].ID, State: s[0].State, Empty: 5 * time.Second, Spent: s[0].Spent, Absorbed: s[0].Absorbed, Limit: t[0].Limit, Usages: goldenUsages()}
	w := limiter.BucketSnapshot{ID: s[1].ID, Sliding: goldenWindow(), Limit: t[1].Limit, Usages: []replica.FallbackUsage{t[1].FallbackUsage}}
	return []limiter.BucketSnapshot{k, w}
}

func goldenReservations(account string) []limiter.ReservationSnapshot {
	k := goldenBuckets(account)
	return []limiter.ReservationSnapshot{
		{ID: "n1-0123456789abcdef", Account: account, Age: 2 * time.Second, Holds: []limiter.Hold{
			{Scope: "llm", Limit: k[0].Limit, Units: 50}, {Scope: "llm", Limit: k[1].Limit, Units: 300},
		}},
		{ID: "n1-2", Account: account, Settled: &bucket.Settlement{Account: account, Reservation: "n1-2", Tokens: 44, Amount: 1000 << 40}},
	}
}

// goldenTakes are reservations of which the lowest debts since their takes are known.
func goldenTakes(account string) []limiter.ReservationSnapshot {
	r := goldenReservations(account)[:1]
	r[0].Holds[0].Take, r[0].Holds[0].Low = 7, 41
	more := r[0].Holds[0]
	more.Take, more.Low = math.MaxUint64, maxUnits
	none := more
	none.Take, none.Low = 1, 0
	r[0].Holds = append(r[0].Holds, more, none)
	return r
}

// TestEncodingsStay: the bytes of what nodes exchange of buckets are those of
// earlier versions, with which this one shares a cluster during an upgrade.
func TestEncodingsStay(t *testing.T) {
	f := golden.Open(t, "testdata/golden.txt")
	sent := &recorder{}
	e := lone()
	e.Transport = sent
	ctx := t.Context()
	to2 := Step{To: "n2", Timeout: time.Second}
	// serve returns how another node, which owns the accounts of one letter, copies
	// those of two and imports those of three, answers a message.
	other := lone()
	serve := func(name string) []byte {
		t.Helper()
		answer, err := other.Serve(f.Compare(name, sent.message))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return f.Compare(name+"/answer", answer)
	}

	bounds := append(goldenBounds("ab"), goldenBounds("a")...)
	body := newWriter()
	for i := range bounds {
		body.bound(&bounds[i])
	}
	to := &sender{e: e, node: "n2"}
	to.sendSome(ctx, bounds, body)
	sent.answer = serve("bounds")
	if to.sendSome(ctx, bounds, body) { // the last is refused
		t.Error("all bounds are confirmed")
	}

	usages := append(goldenFallbackUsages("a"), goldenFallbackUsages("ab")...)
	body = newWriter()
	for i := range usages {
		body.fallbackUsage(&usages[i])
	}
	e.sendUsageMessage(ctx, to2, usages, body)
	sent.answer = serve("usages")
	if !e.sendUsageMessage(ctx, to2, usages, body) {
		t.Error("the answer to usages is not understood")
	}

	q := fetchRequest{parts: []int{1, 2}, slice: 2, of: 300}
	sent.answer = []byte{0}
	_, _ = e.fetchPage(ctx, to2, q) // of the message alone
	f.Compare("fetch/slice", sent.message)
	q = fetchRequest{parts: []int{2}}
	_, _ = e.fetchPage(ctx, to2, q)
	serve("fetch")
	body = newWriter()
	buckets := goldenBuckets("ab")
	for i := range buckets {
		body.bucket(&buckets[i])
	}
	w := newWriter()
	w.Int(1)
	w.Int(0)
	w.append(len(buckets), body)
	b, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	sent.answer = f.Compare("page", b)
	if got, err := e.fetchPage(ctx, to2, q); err != nil || got.whole != 1 || !reflect.DeepEqual(got.buckets, buckets) {
		t.Errorf("a page is read as %+v, %v", got, err)
	}

	sent.answer = nil
	e.canImport(ctx, Step{To: "n2", Epoch: 1, Parts: []int{2}, Timeout: time.Second})
	sent.answer = serve("can-import")
	if !e.canImport(ctx, Step{To: "n2", Epoch: 1, Parts: []int{2}, Timeout: time.Second}) {
		t.Error("the answer to a can-import request is not understood")
	}
	e.canImport(ctx, Step{To: "n2", Epoch: 9, Parts: []int{0, 2}, Timeout: time.Second})
	sent.answer = serve("can-import/no")
	if e.canImport(ctx, Step{To: "n2", Epoch: 9, Parts: []int{0, 2}, Timeout: time.Second}) {
		t.Error("the answer to a can-import request is not understood")
	}

	p := handoffBatch{try: 300, body: newWriter()}
	p.add(0, &limiter.PartitionSnapshot{Partition: 2, Buckets: goldenBuckets("abc"), Reservations: goldenReservations("abc")})
	sent.answer = nil
	e.sendBatch(ctx, Step{To: "n2", Epoch: 1, Timeout: time.Second}, &p)
	pieces := newReader(sent.message[1:])
	pieces.Uint()
	pieces.Uint()
	if got := codec.List(pieces.Reader, 3, func() piece { return pieces.piece(3) }); pieces.End() != nil || len(got) != 1 ||
		!reflect.DeepEqual(got[0].Buckets, goldenBuckets("abc")) || !reflect.DeepEqual(got[0].Reservations, goldenReservations("abc")) {
		t.Errorf("a handoff is read as %+v, %v", got, pieces.End())
	}
	sent.answer = serve("handoff")
	if given, all := e.sendBatch(ctx, Step{To: "n2", Epoch: 1, Timeout: time.Second}, &p); given != 1 || !all {
		t.Errorf("the answer to a handoff is read as %d partitions, all %v", given, all)
	}

	// A hold's take travels where the last version writes an empty account, and reads past
	// one.
	taken := goldenTakes("abc")
	p = handoffBatch{try: 300, body: newWriter()}
	p.add(0, &limiter.PartitionSnapshot{Partition: 2, Reservations: taken})
	e.sendBatch(ctx, Step{To: "n2", Epoch: 1, Timeout: time.Second}, &p)
	serve("handoff/takes")
	pieces = newReader(f.Bytes("handoff/takes")[1:])
	pieces.Uint()
	pieces.Uint()
	if got := codec.List(pieces.Reader, 3, func() piece { return pieces.piece(3) }); pieces.End() != nil || len(got) != 1 ||
		!reflect.DeepEqual(got[0].Reservations, taken) {
		t.Errorf("takes are read as %+v, %v", got, pieces.End())
	}
	for _, h := range taken[0].Holds {
		if s := take(&h); len(s) > bucket.MaxAccount {
			t.Errorf("%q is longer than an account", s)
		}
	}

	// The values of messages that are not read again above.
	r := newReader(f.Bytes("bounds")[1:])
	if got := codec.List(r.Reader, maxBatch, r.bound); r.End() != nil || !reflect.DeepEqual(got, bounds) {
		t.Errorf("bounds are read as %+v, %v", got, r.End())
	}
	r = newReader(f.Bytes("usages")[1:])
	if got := codec.List(r.Reader, maxBatch, r.fallbackUsage); r.End() != nil || !reflect.DeepEqual(got, usages) {
		t.Errorf("usages are read as %+v, %v", got, r.End())
	}
}

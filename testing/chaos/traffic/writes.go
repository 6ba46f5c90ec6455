package traffic

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"quorate/testing/chaos/model"
	"quorate/testing/testcluster"
)

const (
	patience   = 20 * time.Second // with one entry, over all its tries
	perTry     = 6 * time.Second
	perAccount = 48 // keys, then a new account: the check of a history must stay small
	unknowns   = 3  // likewise
)

// work is the account that three writers share at a time.
type work struct {
	name  string
	keys  int      // used so far
	sent  []sentAs // what each was
	open  int      // whose outcome is unknown
	calls int      // clients so far, for one line each in a picture
}

// sentAs is what a key was first sent with.
type sentAs struct {
	t      model.Type
	amount int64
}

type works struct {
	mu   sync.Mutex
	now  map[int]*work // by group of writers; guarded by mu
	made int           // guarded by mu
}

func newWorks() *works { return &works{now: map[int]*work{}} }

// next draws the next operation of a group of writers.
func (w *works) next(group int, rng *rand.Rand) (on *work, op model.Op) {
	w.mu.Lock()
	defer w.mu.Unlock()
	on = w.now[group]
	if on == nil || on.keys == perAccount || on.open >= unknowns {
		on = &work{name: fmt.Sprintf("ledger-%d", w.made)}
		w.made++
		w.now[group] = on
	}
	op.Account = on.name
	switch p := rng.IntN(100); {
	case p < 20 && on.keys > 0:
		op.Type = model.Read
		return on, op
	case p < 32 && on.keys > 0: // a client that repeats an entry
		op.Key = rng.IntN(on.keys)
		op.Type, op.Amount = on.sent[op.Key].t, on.sent[op.Key].amount
		return on, op
	case p < 55:
		op.Type = model.Purchase
	case p < 65:
		op.Type = model.FreeCredit
	case p < 82:
		op.Type = model.Usage
	case p < 92:
		op.Type = model.Payment
	default:
		op.Type = model.Refund
	}
	op.Amount = 1 + rng.Int64N(20_000_000)
	op.Key = on.keys
	on.keys++
	on.sent = append(on.sent, sentAs{op.Type, op.Amount})
	return on, op
}

// client numbers operations of unknown outcome separately: they stay open while their
// client goes on.
func (w *works) client(on *work) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	on.calls++
	return on.calls
}

func (w *works) unknown(on *work) {
	w.mu.Lock()
	defer w.mu.Unlock()
	on.open++
}

func (t *Traffic) write(ctx context.Context, id int, rng *rand.Rand) {
	for ctx.Err() == nil {
		on, op := t.work.next(id/3, rng)
		op.Client = id
		known := t.do(context.WithoutCancel(ctx), &op, rng.IntN(len(t.cfg.Nodes)))
		if op.Outcome == model.Unknown {
			t.work.unknown(on)
			op.Client = 1000 + t.work.client(on)
		}
		if known {
			t.rec.op(op)
		}
		pause(ctx, time.Duration(rng.Int64N(int64(t.cfg.Between))))
	}
}

// do tries an operation at one node after the other until one answers. It returns false
// if there is nothing to record: a read without an answer, or an entry that was not sent.
func (t *Traffic) do(ctx context.Context, op *model.Op, at int) bool {
	t.gate.RLock()
	defer t.gate.RUnlock()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	op.Asked = t.rec.Now()
	op.Outcome = model.Unknown
	maybe := false
	for ; ctx.Err() == nil; at++ {
		n := t.cfg.Nodes[at%len(t.cfg.Nodes)]
		if _, away := t.refused.Load(n.ID); away {
			pause(ctx, 5*time.Millisecond)
			continue
		}
		asked := t.rec.Now()
		op.Tries++
		r, err := send(ctx, n, *op)
		if t.deaf.Load() && op.Type != model.Read && rand.IntN(4) > 0 {
			r, err = nil, errMissed
			t.missed.Add(1)
		}
		op.Answered, op.Node = t.rec.Now(), n.ID
		switch {
		case err != nil:
			maybe = true // even if it was refused: a later read is as good
		case r.Status == 200:
			if op.Type == model.Read {
				op.Asked = asked // earlier tries do not matter
			}
			if err := read(r, op); err != nil {
				op.Outcome, op.Node = model.Unknown, n.ID
				return op.Type != model.Read
			}
			op.Outcome = model.Applied
			return true
		case r.Status == 404 && op.Type == model.Read: // nothing was entered yet
			op.Asked, op.Outcome = asked, model.Applied
			return true
		case r.Status == 422:
			// A refused entry uses no key: an earlier try without an answer may still be
			// applied.
			if !maybe {
				op.Outcome = model.Refused
			}
			return true
		case r.Status == 503 && problem(r) == "no_quorum":
			// Not sent.
		default:
			maybe = true
		}
		pause(ctx, 50*time.Millisecond)
	}
	return op.Type != model.Read && maybe
}

// errMissed stands for an answer that was dropped.
var errMissed = errors.New("the answer was lost")

// Deafen drops three of four answers to writers, as if the connection broke after the
// request; Missed counts them.
func (t *Traffic) Deafen(yes bool) { t.deaf.Store(yes) }

// Missed is described with Deafen.
func (t *Traffic) Missed() int64 { return t.missed.Load() }

func send(ctx context.Context, n *testcluster.Node, op model.Op) (*testcluster.Reply, error) {
	ctx, cancel := context.WithTimeout(ctx, perTry)
	defer cancel()
	path := "/v1/accounts/" + url.PathEscape(op.Account)
	if op.Type == model.Read {
		return n.Do(ctx, "GET", path+"?consistency=strong", nil)
	}
	return n.Do(ctx, "POST", path+"/ledger", testcluster.Entry{Key: Key(op.Key), Type: string(op.Type), Amount: money(op.Amount)})
}

// read reads an answer.
func read(r *testcluster.Reply, op *model.Op) error {
	if op.Type == model.Read {
		var a testcluster.Account
		if err := r.JSON(&a); err != nil {
			return err
		}
		return balances(&a, &op.Balances)
	}
	var e testcluster.Entered
	if err := r.JSON(&e); err != nil {
		return err
	}
	op.Replayed, op.Index = e.Replayed, e.Entry.Index
	return balances(&e.Account, &op.Balances)
}

func balances(a *testcluster.Account, out *model.Balances) (err error) {
	for _, m := range []struct {
		text string
		to   *int64
	}{{a.Credits.Free, &out.Free}, {a.Credits.Purchased, &out.Purchased}, {a.OpenBill, &out.Bill}, {a.LifetimeSpend, &out.Lifetime}} {
		if *m.to, err = micros(m.text); err != nil {
			return err
		}
	}
	return nil
}

// Key returns the idempotency key of a number.
func Key(n int) string { return "k" + strconv.Itoa(n) }

func money(micros int64) string { return fmt.Sprintf("%d.%06d", micros/1e6, micros%1e6) }

func micros(text string) (int64, error) {
	whole, part, _ := strings.Cut(text, ".")
	w, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("amount %q: %w", text, err)
	}
	p, err := strconv.ParseInt((part + "000000")[:6], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("amount %q: %w", text, err)
	}
	return w*1e6 + p, nil
}

func problem(r *testcluster.Reply) string {
	var p testcluster.Problem
	_ = r.JSON(&p) // no code then
	return p.Code
}

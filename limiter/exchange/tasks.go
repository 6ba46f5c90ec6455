package exchange

import (
	"context"
	"time"
)

// beat sends the fallback usage that is not absorbed.
func (e *Exchange) beat() {
	usages := e.Local.FallbackUsages()
	e.mu.Lock()
	steps := e.plan.Beat(usages, e.Local.HoldersOf)
	e.mu.Unlock()
	e.carryOut(steps)
}

// begin begins the tasks of the map in force that are not under way.
func (e *Exchange) begin() {
	t := e.Local.Tasks()
	e.mu.Lock()
	steps := e.plan.Begin(t)
	e.mu.Unlock()
	e.carryOut(steps)
}

// carryOut carries out the plan's steps, and all that follow. A step that needs an
// answer has a goroutine.
func (e *Exchange) carryOut(steps []Step) {
	for _, s := range steps {
		if o, ok := e.apply(s); ok {
			e.done(s, o)
		} else if !e.spawn(func(ctx context.Context) { e.exchange(ctx, s) }) {
			e.cancel(s)
		}
	}
}

func (e *Exchange) done(s Step, o Outcome) {
	o.Epoch = e.Local.Epoch()
	e.mu.Lock()
	steps := e.plan.Done(s, o)
	e.mu.Unlock()
	e.carryOut(steps)
}

func (e *Exchange) cancel(s Step) {
	e.mu.Lock()
	e.plan.Cancel(s)
	e.mu.Unlock()
}

// apply carries out a step that needs no answer of another node; ok is false for any
// other.
func (e *Exchange) apply(s Step) (o Outcome, ok bool) {
	switch s.Action {
	case SendUsage:
		if s.To != e.node {
			return o, false
		}
		for _, u := range s.Usages {
			e.markAbsorbed(u, e.Local.ReceiveUsage(u))
		}
	case FinishRecovery:
		e.Local.FinishRecovery(s.Epoch, s.Parts)
		e.Log.Info("owner of partitions", "epoch", s.Epoch, "partitions", len(s.Parts))
		e.Wake() // their copies are not whole
	case MarkCopied:
		e.Local.MarkCopied(s.Epoch, s.Parts, s.To)
	case BeginExport:
		o.OK = e.Local.BeginExport(s.Epoch, s.Parts)
	case DropReservations:
		e.Local.DropReservations(s.Parts)
	default:
		return o, false
	}
	return o, true
}

// exchange carries out a step that needs an answer.
func (e *Exchange) exchange(ctx context.Context, s Step) {
	select {
	case <-time.After(s.After):
	case <-ctx.Done():
	}
	var o Outcome
	if ctx.Err() == nil {
		switch s.Action {
		case SendUsage:
			e.sendUsages(ctx, s)
		case Fetch:
			e.fetch(ctx, s)
		case Copy:
			o = e.copyPartitions(ctx, s)
		case AskImport:
			o.OK = e.canImport(ctx, s)
		case Export:
			o.Count = e.sendHandoff(ctx, s)
		}
	}
	if ctx.Err() != nil {
		e.cancel(s)
		return
	}
	e.done(s, o)
}

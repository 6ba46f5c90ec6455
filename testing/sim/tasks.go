package sim

import (
	"cmp"
	"slices"

	"quorate/limiter"
	"quorate/limiter/exchange"
)

// exchangeBeat is the ticker of the exchange.
func (n *node) exchangeBeat() {
	n.after(exchange.BeatEvery, n.exchangeBeat)
	usages := n.local.FallbackUsages()
	slices.SortFunc(usages, func(a, b limiter.FallbackUsage) int { // or a seed would not replay its run
		return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Source, b.Source))
	})
	n.carryOut(n.plan.Beat(usages, n.local.HoldersOf))
	n.startTasks()
}

// startTasks begins the tasks of the map in force that are not under way.
func (n *node) startTasks() { n.carryOut(n.plan.Begin(n.local.Tasks())) }

// carryOut carries out the plan's steps and all that follow.
func (n *node) carryOut(steps []exchange.Step) {
	for _, s := range steps {
		if s.After > 0 {
			n.after(s.After, func() { n.step(s) })
		} else {
			n.step(s)
		}
	}
}

func (n *node) done(s exchange.Step, o exchange.Outcome) {
	o.Epoch = n.local.Epoch()
	n.carryOut(n.plan.Done(s, o))
}

func (n *node) step(s exchange.Step) {
	switch s.Action {
	case exchange.SendUsage:
		n.sendUsage(s)
	case exchange.Fetch:
		n.fetchBuckets(s)
	case exchange.Copy:
		n.copyTo(s)
	case exchange.AskImport:
		n.request(s, func(to *node) func() exchange.Outcome {
			ok := to.local.CanImport(s.Epoch, s.Parts)
			return func() exchange.Outcome { return exchange.Outcome{OK: ok} }
		})
	case exchange.Export:
		n.export(s)
	case exchange.FinishRecovery:
		n.local.FinishRecovery(s.Epoch, s.Parts)
		n.w.logf("%s owns %v in epoch %d", n.id, s.Parts, s.Epoch)
		n.done(s, exchange.Outcome{})
		n.startTasks()
	case exchange.MarkCopied:
		n.local.MarkCopied(s.Epoch, s.Parts, s.To)
		n.done(s, exchange.Outcome{})
	case exchange.BeginExport:
		n.done(s, exchange.Outcome{OK: n.local.BeginExport(s.Epoch, s.Parts)})
	case exchange.DropReservations:
		n.local.DropReservations(s.Parts)
		n.done(s, exchange.Outcome{})
	}
}

// request sends the message of a step. serve is called at the other node and returns what
// its answer does when it arrives here in time.
func (n *node) request(s exchange.Step, serve func(to *node) func() exchange.Outcome) {
	to, boot, over := n.w.byID[s.To], n.boot, false
	n.w.send(n, to, func() {
		answer := serve(to)
		n.w.send(to, n, func() {
			if n.boot == boot && !over {
				over = true
				n.done(s, answer())
			}
		})
	})
	n.after(s.Timeout, func() {
		if !over {
			over = true
			n.done(s, exchange.Outcome{})
		}
	})
}

func (n *node) sendUsage(s exchange.Step) {
	serve := func(to *node) func() exchange.Outcome {
		absorbed := make([]int64, len(s.Usages))
		for i, u := range s.Usages {
			absorbed[i] = to.local.ReceiveUsage(u)
		}
		return func() (o exchange.Outcome) {
			for i, units := range absorbed {
				if units > 0 {
					n.local.MarkAbsorbed(s.Usages[i], units)
				}
			}
			return o
		}
	}
	if s.To == n.id {
		n.done(s, serve(n)())
		return
	}
	n.request(s, serve)
}

func (n *node) fetchBuckets(s exchange.Step) {
	n.request(s, func(from *node) func() exchange.Outcome {
		var all []limiter.BucketSnapshot
		for _, p := range s.Parts {
			all = append(all, from.local.ExportBuckets(p)...)
		}
		return func() (o exchange.Outcome) {
			for _, k := range all {
				n.local.MergeBucket(k)
			}
			return o
		}
	})
}

func (n *node) copyTo(s exchange.Step) {
	var batch []limiter.UsageBound
	for _, p := range s.Parts {
		batch = append(batch, n.local.Republish(p, s.To)...)
	}
	n.request(s, func(to *node) func() exchange.Outcome {
		taken := make([]bool, len(batch))
		for i := range batch {
			taken[i] = to.local.StoreBound(batch[i])
		}
		return func() exchange.Outcome {
			for i, b := range batch {
				if taken[i] {
					n.local.Acked(b.ID, s.To, b.Seq)
				}
			}
			return exchange.Outcome{OK: !slices.Contains(taken, false), Count: len(s.Parts)}
		}
	})
}

func (n *node) export(s exchange.Step) {
	all := make([]limiter.PartitionSnapshot, len(s.Parts))
	for i, p := range s.Parts {
		all[i] = n.local.ExportPartition(p)
	}
	n.request(s, func(to *node) func() exchange.Outcome {
		has := to.local.ImportPartitions(s.Epoch, all...)
		to.w.logf("%s has %v from %s", to.id, s.Parts[:has], n.id)
		return func() exchange.Outcome { return exchange.Outcome{Count: has} }
	})
}

package sim

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"quorate/limiter"
)

// fetchFor is how long a new owner waits for what others know.
const fetchFor = 300 * time.Millisecond

// handAgain is after how long a handoff is tried again: the taker may not know
// of it yet.
const handAgain = 20 * time.Millisecond

// startTasks starts what the map asks of the node and is not under way.
func (n *node) startTasks() {
	if !n.ready() {
		return
	}
	d := n.local.Tasks()
	for p := range Parts {
		if n.local.Recovering(p) {
			n.recoverPartition(d, p)
		}
	}
	for _, to := range slices.Sorted(maps.Keys(d.Copy)) {
		for _, p := range d.Copy[to] {
			n.copyTo(d.Epoch, p, n.w.byID[to])
		}
	}
	for _, to := range slices.Sorted(maps.Keys(d.Handoff)) {
		for _, p := range d.Handoff[to] {
			n.handOff(d.Epoch, p, n.w.byID[to])
		}
	}
}

// copyTo gives a successor a whole copy of a partition.
func (n *node) copyTo(epoch uint64, p int, to *node) {
	done, ok := n.once("copy %d %s", p, to.id)
	if !ok {
		return
	}
	batch := n.local.Republish(p, to.id)
	slices.SortFunc(batch, func(a, b limiter.UsageBound) int { return cmp.Compare(a.Seq, b.Seq) })
	life := n.boot
	n.after(timing.Ping, done)
	n.w.send(n, to, func() {
		taken := make([]bool, len(batch))
		for i := range batch {
			taken[i] = to.ready() && to.local.StoreBound(batch[i])
		}
		whole := !slices.Contains(taken, false)
		to.w.send(to, n, func() {
			if n.boot != life {
				return
			}
			for i := range batch {
				if taken[i] {
					n.local.Acked(batch[i].ID, to.id, batch[i].Seq)
				}
			}
			if whole {
				n.local.MarkCopied(epoch, []int{p}, to.id)
			}
		})
	})
}

// once reports whether the task is not under way, and notes that it is.
func (n *node) once(format string, args ...any) (done func(), ok bool) {
	key := fmt.Sprintf(format, args...)
	if n.busy[key] {
		return nil, false
	}
	n.busy[key] = true
	return func() { delete(n.busy, key) }, true
}

// recoverPartition fetches what others know of a partition, and then owns it.
func (n *node) recoverPartition(d limiter.Tasks, p int) {
	done, ok := n.once("take %d %d", d.Epoch, p)
	if !ok {
		return
	}
	waits := 0
	finish := func() {
		if done == nil {
			return
		}
		done()
		done = nil
		n.local.FinishRecovery(d.Epoch, []int{p})
		n.w.logf("%s takes %d in epoch %d", n.id, p, d.Epoch)
	}
	for _, id := range slices.Sorted(maps.Keys(d.Fetch)) {
		if id == "" || !slices.Contains(d.Fetch[id], p) {
			continue
		}
		waits++
		from, life := n.w.byID[id], n.boot
		n.w.send(n, from, func() {
			if !from.ready() {
				return
			}
			all := from.local.ExportBuckets(p)
			from.w.send(from, n, func() {
				if n.boot != life {
					return
				}
				for _, k := range all {
					if n.w.Without != Merge {
						n.local.MergeBucket(k)
					}
				}
				if waits--; waits == 0 {
					finish()
				}
			})
		})
	}
	if waits == 0 {
		finish()
		return
	}
	n.after(fetchFor, finish)
}

// handOff hands a partition over to its taker, once that is there.
func (n *node) handOff(epoch uint64, p int, to *node) {
	done, ok := n.once("hand %d %d", epoch, p)
	if !ok {
		return
	}
	life := n.boot
	n.w.send(n, to, func() {
		if !to.local.CanImport(epoch, []int{p}) {
			return // it will be asked again
		}
		to.w.send(to, n, func() {
			if n.boot == life && n.local.BeginExport(epoch, []int{p}) {
				n.sendHandoff(epoch, p, to)
			}
		})
	})
	n.after(handAgain, func() { done(); n.startTasks() })
}

func (n *node) sendHandoff(epoch uint64, p int, to *node) {
	all := n.local.ExportBuckets(p)
	if n.w.Without == Exact {
		all = nil
	}
	n.w.send(n, to, func() {
		ok := false
		if n.w.Without == Exact {
			ok = to.local.Imported(p) || to.importCopies(epoch, p)
		} else {
			ok = to.local.ImportPartitions(epoch, limiter.PartitionSnapshot{Partition: p, Buckets: all}) == 1
		}
		if ok {
			to.w.logf("%s has %d from %s", to.id, p, n.id)
		}
	})
}

// importCopies takes a partition over with what the copies know.
func (n *node) importCopies(epoch uint64, p int) bool {
	return n.local.ImportPartitions(epoch, limiter.PartitionSnapshot{Partition: p, Buckets: n.local.ExportBuckets(p)}) == 1
}

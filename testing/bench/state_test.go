package bench

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"quorate/fsm"
	"quorate/fsm/ledger"
)

// filled is a state machine with accounts of one entry each.
type filled struct {
	*fsm.Machine
	index    uint64
	accounts int
}

// measureState takes the state machine by itself: its memory, and what a
// snapshot costs those who write meanwhile.
func measureState(t *testing.T) {
	before := heap()
	f := fillState(t, *ledgerAccounts)
	fmt.Printf("state: %d accounts with a key each: %.0f B an account (target 400)\n", f.accounts, float64(heap()-before)/float64(f.accounts))
	path := filepath.Join(t.TempDir(), "snapshot")
	for _, ops := range []int{1, 256} {
		var idle []time.Duration
		for range 400_000 / min(ops, 100) { // long enough for the collector to come by, as in a snapshot
			idle = append(idle, f.apply(t, ops))
		}
		done := make(chan error, 1)
		start := time.Now()
		snap, err := f.Snapshot()
		froze := time.Since(start)
		if err != nil {
			t.Fatal(err)
		}
		go func() { done <- persist(snap, path) }()
		busy, wrote := f.applyUntil(t, ops, done)
		fmt.Printf("Apply of %d operations, idle:     %s\n", ops, spread(idle))
		fmt.Printf("Apply of %d operations, Persist:  %s (target p99 3x idle); %d applied; Snapshot took %s, Persist %.2f s, %s\n",
			ops, spread(busy), len(busy), froze, wrote.Seconds(), size(fileSize(t, path)))
	}
	in, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := f.Restore(in); err != nil {
		t.Fatal(err)
	}
	fmt.Printf("restore: %.2f s\n", time.Since(start).Seconds())
}

// heap returns the bytes in use after a collection.
func heap() int64 {
	runtime.GC()
	runtime.GC() // what the first one's finalizers let go of
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func fillState(t *testing.T, accounts int) *filled {
	t.Helper()
	m, err := fsm.New(func(*ledger.Map) {})
	if err != nil {
		t.Fatal(err)
	}
	f := &filled{Machine: m, accounts: accounts}
	for from := 0; from < accounts; from += ledger.MaxOps {
		c := ledger.Command{Time: 1}
		for i := range min(ledger.MaxOps, accounts-from) {
			c.Ops = append(c.Ops, ledger.Op{
				Kind: ledger.OpEntry, Account: fmt.Sprintf("customer-%07d", from+i), Key: "import-1", Type: ledger.Purchase, Amount: 25 * ledger.Dollar,
			})
		}
		f.do(t, f.encode(t, &c))
	}
	return f
}

func (f *filled) encode(t *testing.T, c *ledger.Command) *raft.Log {
	b, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	f.index++
	return &raft.Log{Index: f.index, Data: b}
}

func (f *filled) do(t *testing.T, l *raft.Log) {
	results, ok := f.Apply(l).([]ledger.Result)
	if !ok {
		t.Fatal("the command was not applied")
	}
	for i := range results {
		if results[i].Err != nil {
			t.Fatal(results[i].Err)
		}
	}
}

// apply applies a command to accounts all over the state and returns how long
// that took.
func (f *filled) apply(t *testing.T, ops int) time.Duration {
	c := ledger.Command{Time: 1}
	for i := range ops {
		account := (int(f.index)*7919 + i*104729) % f.accounts
		c.Ops = append(c.Ops, ledger.Op{
			Kind: ledger.OpEntry, Account: fmt.Sprintf("customer-%07d", account), Key: fmt.Sprint(f.index, i), Type: ledger.Usage, Amount: 1,
		})
	}
	l := f.encode(t, &c)
	start := time.Now()
	f.do(t, l)
	return time.Since(start)
}

// applyUntil applies until done says that it is, and returns how long each and
// all of it took.
func (f *filled) applyUntil(t *testing.T, ops int, done chan error) (each []time.Duration, all time.Duration) {
	start := time.Now()
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			return each, time.Since(start)
		default:
			each = append(each, f.apply(t, ops))
		}
	}
}

// sink is a raft.SnapshotSink into a file.
type sink struct{ *os.File }

func (sink) ID() string    { return "bench" }
func (sink) Cancel() error { return errors.New("cancelled") }

func persist(s raft.FSMSnapshot, path string) error {
	to, err := os.Create(path)
	if err != nil {
		return err
	}
	defer s.Release()
	return s.Persist(sink{to})
}

package storage

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// writeLog fills a directory's log with entries from 1 on, in transactions of a few.
func writeLog(tb testing.TB, dir string, transactions int) []*raft.Log {
	tb.Helper()
	d, err := Open(dir, "n1", Options{})
	if err != nil {
		tb.Fatal(err)
	}
	if err := d.bolt.SetUint64(keyCurrentTerm, 3); err != nil {
		tb.Fatal(err)
	}
	if err := NewVoteStore(d.bolt).Set(keyVoteCandidate, []byte("n1")); err != nil {
		tb.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	var all []*raft.Log
	for range transactions {
		var logs []*raft.Log
		for range 1 + rng.IntN(8) {
			data := make([]byte, 50+rng.IntN(400))
			for i := range data {
				data[i] = byte(rng.Uint32())
			}
			logs = append(logs, &raft.Log{Index: uint64(len(all) + len(logs) + 1), Term: 3, Data: data, AppendedAt: time.Now().UTC()})
		}
		if err := d.Log().StoreLogs(logs); err != nil {
			tb.Fatal(err)
		}
		all = append(all, logs...)
	}
	if err := d.Close(); err != nil {
		tb.Fatal(err)
	}
	return all
}

// readLog reads all entries, as a start does.
func readLog(tb testing.TB, dir string) ([]raft.Log, error) {
	tb.Helper()
	d, err := Open(dir, "n1", Options{})
	if err != nil {
		return nil, err
	}
	defer d.Close()
	s := d.Log()
	if err := s.Verify(0, 0); err != nil {
		return nil, err
	}
	last, err := s.LastIndex()
	if err != nil {
		tb.Fatal(err)
	}
	all := make([]raft.Log, last)
	for i := range all {
		if err := s.GetLog(uint64(i+1), &all[i]); err != nil {
			tb.Fatal(err)
		}
	}
	return all, nil
}

// TestFlippedBitsAreFoundOrHarmless flips one bit of a log, or one in each tenth of it:
// the log is refused as damaged, or holds what was written. With ten flipped bits bbolt
// alone ends the process for one seed in six.
func TestFlippedBitsAreFoundOrHarmless(t *testing.T) {
	sound := t.TempDir()
	want := writeLog(t, sound, 200)
	good, err := os.ReadFile(filepath.Join(sound, "raft.db"))
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	const seeds = 60
	for seed := range uint64(seeds) {
		rng := rand.New(rand.NewPCG(seed, 9))
		b := bytes.Clone(good)
		flips := 1 + 9*int(seed%2)
		part := len(b) / flips
		for i := range flips {
			b[i*part+rng.IntN(part)] ^= 1 << rng.IntN(8)
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "raft.db"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := readLog(t, dir)
		if errors.Is(err, ErrLogDamaged) {
			refused++
			continue
		}
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if len(got) != len(want) {
			t.Fatalf("seed %d: %d entries, want %d", seed, len(got), len(want))
		}
		for i := range got {
			got[i].AppendedAt = want[i].AppendedAt // the checksum does not cover it
			if !reflect.DeepEqual(&got[i], want[i]) {
				t.Fatalf("seed %d: entry %d is %+v, want %+v", seed, i+1, got[i], *want[i])
			}
		}
	}
	if refused < seeds/3 || refused == seeds {
		t.Errorf("%d of %d refused: the test needs both outcomes", refused, seeds)
	}
}

// TestVerifyingChangesNothing verifies valid and damaged logs: each byte and each file of
// the directory must be unchanged.
func TestVerifyingChangesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "raft.db")
	if err := verifyLog(path); err != nil {
		t.Errorf("no log yet: %v", err)
	}
	if files := contents(t, dir); len(files) != 0 {
		t.Errorf("there is %v", files)
	}
	writeLog(t, dir, 40)
	before := contents(t, dir)
	if err := verifyLog(path); err != nil {
		t.Errorf("a valid log: %v", err)
	}
	if !reflect.DeepEqual(contents(t, dir), before) {
		t.Error("a valid log's directory was changed")
	}
	b := []byte(before["raft.db"])
	b[16] ^= 1 // in the first meta
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	before = contents(t, dir)
	if _, err := Open(dir, "n1", Options{}); !errors.Is(err, ErrLogDamaged) || !errors.Is(err, ErrDataDir) {
		t.Errorf("a damaged log: %v", err)
	}
	if !reflect.DeepEqual(contents(t, dir), before) {
		t.Error("a damaged log's directory was changed")
	}
}

// contents returns each file of a directory by its name.
func contents(tb testing.TB, dir string) map[string]string {
	tb.Helper()
	files := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(filepath.Join(dir, path))
		files[path] = string(b)
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return files
}

// modTimes returns when each file and directory was last modified.
func modTimes(tb testing.TB, dir string) map[string]time.Time {
	tb.Helper()
	times := map[string]time.Time{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil {
			times[path] = info.ModTime()
		}
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return times
}

// TestWhatIsNoDamage: a log that is in use, or that may not be read, is not reported as
// damaged.
func TestWhatIsNoDamage(t *testing.T) {
	dir := t.TempDir()
	writeLog(t, dir, 1)
	d, err := Open(dir, "n1", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, "n1", Options{}); !errors.Is(err, ErrInUse) || errors.Is(err, ErrLogDamaged) {
		t.Errorf("in use: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := openError(&fs.PathError{Op: "open", Path: "raft.db", Err: fs.ErrPermission}); errors.Is(err, ErrLogDamaged) {
		t.Errorf("not allowed: %v", err)
	}
	other := t.TempDir()
	if err := os.Mkdir(filepath.Join(other, "raft.db"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(other, "n1", Options{}); err == nil || errors.Is(err, ErrLogDamaged) {
		t.Errorf("a directory: %v", err)
	}
}

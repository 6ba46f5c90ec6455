package boltcheck

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"
)

// content returns the contents of a file: bucket and key to value.
func content(b []byte) (map[string]string, error) {
	got := map[string]string{}
	err := Check(bytes.NewReader(b), int64(len(b)), func(bucket string, key, value []byte) error {
		got[bucket+" "+string(key)] = string(value)
		return nil
	})
	return got, err
}

func index(i int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(i)) }

// grown is a log like that of raft-boltdb, with its expected contents.
type grown struct {
	db          *bbolt.DB
	path        string
	first, next int
	want        map[string]string
}

func grow(tb testing.TB, o *bbolt.Options) *grown {
	tb.Helper()
	g := &grown{path: filepath.Join(tb.TempDir(), "raft.db"), first: 1, next: 1, want: map[string]string{}}
	var err error
	if g.db, err = bbolt.Open(g.path, 0o600, o); err != nil {
		tb.Fatal(err)
	}
	g.db.NoSync = true
	tb.Cleanup(func() { _ = g.db.Close() })
	g.update(tb, func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists([]byte("logs"))
		return err
	})
	g.update(tb, func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists([]byte("conf"))
		return err
	})
	return g
}

func (g *grown) update(tb testing.TB, fn func(*bbolt.Tx) error) {
	tb.Helper()
	if err := g.db.Update(fn); err != nil {
		tb.Fatal(err)
	}
}

func (g *grown) put(tx *bbolt.Tx, bucket string, key, value []byte) error {
	g.want[bucket+" "+string(key)] = string(value)
	return tx.Bucket([]byte(bucket)).Put(key, value)
}

func (g *grown) append(tb testing.TB, rng *rand.Rand, n, size int) {
	tb.Helper()
	g.update(tb, func(tx *bbolt.Tx) error {
		for range n {
			value := make([]byte, rng.IntN(size))
			for i := range value {
				value[i] = byte(rng.Uint32())
			}
			if err := g.put(tx, "logs", index(g.next), value); err != nil {
				return err
			}
			g.next++
		}
		return nil
	})
}

// drop deletes the entries in [from, before), in one transaction.
func (g *grown) drop(tb testing.TB, from, before int) {
	tb.Helper()
	g.update(tb, func(tx *bbolt.Tx) error {
		c := tx.Bucket([]byte("logs")).Cursor()
		for k, _ := c.Seek(index(from)); k != nil && bytes.Compare(k, index(before)) < 0; k, _ = c.Next() {
			delete(g.want, "logs "+string(k))
			if err := c.Delete(); err != nil {
				return err
			}
		}
		return nil
	})
}

func (g *grown) bytes(tb testing.TB) []byte {
	tb.Helper()
	b, err := os.ReadFile(g.path)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// TestBboltFilesAreValid changes logs at random with bbolt. Check must accept each
// and return the same contents as bbolt.
func TestBboltFilesAreValid(t *testing.T) {
	for seed := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, 1))
		o := &bbolt.Options{PageSize: 1024 << rng.IntN(3), NoFreelistSync: seed%3 != 0}
		if seed%2 == 0 {
			o.FreelistType = bbolt.FreelistMapType
		}
		g := grow(t, o)
		look := func(what string) {
			t.Helper()
			got, err := content(g.bytes(t))
			if err != nil {
				t.Fatalf("seed %d, %s: %v", seed, what, err)
			}
			if !maps.Equal(got, g.want) {
				t.Fatalf("seed %d, %s: %d keys, want %d", seed, what, len(got), len(g.want))
			}
		}
		look("empty")
		size := 200 << rng.IntN(4)
		for range 40 {
			what := "append"
			switch at := rng.IntN(10); {
			case at < 6:
				g.append(t, rng, 1+rng.IntN(40), size)
			case at < 7:
				what = "conf"
				g.update(t, func(tx *bbolt.Tx) error {
					return g.put(tx, "conf", fmt.Append(nil, "key", rng.IntN(4)), make([]byte, 1+rng.IntN(300)))
				})
			case at < 8 && g.next > g.first:
				what = "drop the front"
				to := g.first + rng.IntN(g.next-g.first+1)
				g.drop(t, g.first, to)
				g.first = to
			case at < 9 && g.next > g.first:
				what = "drop the tail"
				from := g.next - rng.IntN(g.next-g.first+1)
				g.drop(t, from, g.next)
				g.next = from
			case rng.IntN(4) == 0:
				what = "drop all"
				g.drop(t, g.first, g.next)
				g.first = g.next
			}
			look(what)
		}
	}
}

// sample returns a small file with two levels, an overflow page, an inline bucket
// and free pages.
func sample(tb testing.TB) []byte {
	tb.Helper()
	g := grow(tb, &bbolt.Options{PageSize: 1024, NoFreelistSync: true})
	rng := rand.New(rand.NewPCG(1, 1))
	for range 30 {
		g.append(tb, rng, 1+rng.IntN(4), 200)
	}
	g.append(tb, rng, 1, 4000)
	g.drop(tb, 1, 9)
	g.update(tb, func(tx *bbolt.Tx) error { return g.put(tx, "conf", []byte("CurrentTerm"), index(3)) })
	return g.bytes(tb)
}

// TestEveryStructuralBitIsChecked flips each bit of the metas, of the page headers,
// and of the elements, except for those that only a reader of the key or the value
// can check.
func TestEveryStructuralBitIsChecked(t *testing.T) {
	b := sample(t)
	reached := map[int]bool{}
	w := &walk{}
	w.visit = func(string, []byte, []byte) error { return nil }
	if err := w.check(bytes.NewReader(b), int64(len(b))); err != nil {
		t.Fatal(err)
	}
	for id := range int(w.end) {
		reached[id] = w.seen[id/64]&(1<<(id%64)) != 0
	}
	flip := func(what string, page, from, n int) {
		t.Helper()
		for at := page*1024 + from; at < page*1024+from+n; at++ {
			for bit := range 8 {
				b[at] ^= 1 << bit
				if err := Check(bytes.NewReader(b), int64(len(b)), w.visit); !errors.Is(err, ErrDamaged) {
					t.Errorf("%s: bit %d of byte %d of page %d: %v", what, bit, at-page*1024, page, err)
				}
				b[at] ^= 1 << bit
			}
		}
	}
	branches, long := 0, 0
	for id := 0; id < int(w.end); id++ {
		if !reached[id] {
			continue
		}
		page := b[id*1024:]
		flags, count, more := order.Uint16(page[8:]), int(order.Uint16(page[10:])), int(order.Uint32(page[12:]))
		if id < 2 {
			flip("meta", id, 0, 10)
			flip("meta", id, header, metaSum+8)
			continue
		}
		flip("head", id, 0, 12)
		flip("high bytes of the number of further pages", id, 13, 3) // the low one may name free pages
		for i := range count {
			at := header + element*i
			if flags == isBranch {
				branches++
				flip("position and size of a key", id, at, 8)
				continue
			}
			flip("flags and position of an entry", id, at, 8)
			if i+1 < count { // nothing follows the last one's data
				flip("sizes of key and value", id, at+8, 8)
			}
		}
		if more > 0 {
			long++
		}
		id += more
	}
	if branches < 4 || long == 0 {
		t.Fatalf("%d branches and %d long pages: the sample is too small", branches, long)
	}
}

func TestOtherFilesAreDamaged(t *testing.T) {
	b := sample(t)
	cut := func(n int) []byte { return b[:n] }
	for name, file := range map[string][]byte{
		"empty": nil, "short": cut(100), "one page": cut(1024), "half": cut(len(b) / 4),
		"zeros": make([]byte, 1<<16), "text": bytes.Repeat([]byte("not a log "), 1000),
	} {
		if _, err := content(file); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	failing := errors.New("the disk fails")
	err := Check(unreadable{failing}, 1<<20, nil)
	if !errors.Is(err, failing) || errors.Is(err, ErrDamaged) {
		t.Errorf("a file that cannot be read: %v", err)
	}
	stop := errors.New("stop")
	if err := Check(bytes.NewReader(b), int64(len(b)), func(string, []byte, []byte) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("what visit returned: %v", err)
	}
}

type unreadable struct{ err error }

func (u unreadable) ReadAt([]byte, int64) (int, error) { return 0, u.err }

// FuzzCheck overwrites bytes of a valid file and corrects the checksums of its metas:
// Check must return, without a panic.
func FuzzCheck(f *testing.F) {
	good := sample(f)
	f.Add(uint32(16), []byte{0, 0, 0, 0}, uint32(2060), []byte{0xff})
	f.Add(uint32(48), []byte{2, 0, 0, 0, 0, 0, 0, 0}, uint32(12*1024+12), []byte{0, 0, 0, 0x80})
	f.Add(uint32(32), []byte{9}, uint32(5*1024), []byte{5})
	f.Fuzz(func(t *testing.T, at uint32, one []byte, other uint32, two []byte) {
		b := bytes.Clone(good)
		copy(b[int(at)%len(b):], one)
		copy(b[int(other)%len(b):], two)
		for _, m := range [][]byte{b[header:], b[1024+header:]} {
			sum := fnv.New64a()
			sum.Write(m[:metaSum])
			order.PutUint64(m[metaSum:], sum.Sum64())
		}
		if _, err := content(b); err != nil && !errors.Is(err, ErrDamaged) {
			t.Error(err)
		}
	})
}

// Package boltcheck verifies the structure of a bbolt file before bbolt opens it.
//
// Bbolt maps the file and trusts it: a changed byte in a page header makes bbolt
// panic in a goroutine of its own, fault, allocate without bound, or silently
// return an older state.
//
// Check walks the B+tree from the two meta pages with plain reads. It requires that
// each page lies within the file, carries its own number and is referenced once;
// that the elements of a page follow each other without gaps, as bbolt writes them;
// and that keys ascend within the bounds that the parent page gives.
package boltcheck

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// ErrDamaged is wrapped by every error that Check returns about the contents of a
// file. Errors that do not wrap it come from reading the file or from visit.
var ErrDamaged = errors.New("damaged page")

func damaged(id uint64, format string, args ...any) error {
	return fmt.Errorf("%w %d: %s", ErrDamaged, id, fmt.Sprintf(format, args...))
}

// The format, version 2: integers as the machine has them.
const (
	header  = 16 // of a page: id 8, flags 2, count 2, overflow 4; of a bucket: root 8, sequence 8
	element = 16 // branch: pos 4, key size 4, page 8; leaf: flags 4, pos 4, key size 4, value size 4
	metaSum = 56 // where a meta's checksum is, of all before it

	isBranch, isLeaf, isMeta, isFreelist = 0x01, 0x02, 0x04, 0x10

	magic      = 0xED0CDAED
	version    = 2
	noFreelist = 1<<64 - 1
	isBucket   = 1 // flag of a leaf's element

	minSize, maxSize = 1 << 10, 16 << 20 // of a page, as bbolt looks for them
	maxDepth         = 32
)

var order = binary.NativeEndian

// meta is the contents of a meta page: one of the first two pages.
type meta struct{ size, root, freelist, end, tx uint64 }

// walk is one traversal of a file.
type walk struct {
	file  io.ReaderAt
	size  uint64 // of a page
	end   uint64 // no page has this number or a higher one
	seen  []uint64
	bufs  [maxDepth][]byte // one page for each level, 0 for the page of buckets: a parent stays readable while its children are read
	visit func(bucket string, key, value []byte) error
}

// Check reads everything that the last transaction left in a file of the given
// length, and calls visit for each key of each top-level bucket, in order. A nested
// bucket is an error. The slices that visit receives are valid until it returns.
//
// Both meta pages must be valid. Bbolt falls back to the older one if the newer is
// not, and so loses a transaction that was acknowledged. A crash does not leave an
// invalid meta page, because a meta lies within one sector.
func Check(file io.ReaderAt, length int64, visit func(bucket string, key, value []byte) error) error {
	return (&walk{visit: visit}).check(file, length)
}

func (w *walk) check(file io.ReaderAt, length int64) error {
	first, err := readMeta(file, 0, 0)
	if err != nil {
		return err
	}
	second, err := readMeta(file, 1, first.size)
	if err != nil {
		return err
	}
	last := first
	if second.tx > first.tx {
		last = second
	}
	if second.size != first.size || last.end < 2 || last.end > uint64(length)/first.size {
		return damaged(last.tx%2, "%d pages of %d bytes in a file of %d", last.end, last.size, length)
	}
	w.file, w.size, w.end, w.seen = file, last.size, last.end, make([]uint64, last.end/64+1)
	w.seen[0] = 3 // the metas
	if err := w.freelist(last.freelist); err != nil {
		return err
	}
	return w.top(last.root)
}

// top walks the root page, which holds the buckets. There are too few of them for
// more than one page.
func (w *walk) top(id uint64) error {
	b, err := w.read(id, 0)
	if err != nil {
		return err
	}
	if flags := order.Uint16(b[8:]); flags != isLeaf {
		return damaged(id, "flags %#x of a page with buckets", flags)
	}
	_, err = leaf(id, b, bounds{}, func(flags uint32, key, value []byte) error {
		if flags != isBucket {
			return damaged(id, "key %q is no bucket", key)
		}
		return w.bucket(id, string(key), value)
	})
	return err
}

// readMeta reads the meta page with the given number, 0 or 1.
func readMeta(file io.ReaderAt, id, size uint64) (meta, error) {
	var b [header + metaSum + 8]byte
	if _, err := file.ReadAt(b[:], int64(id*size)); errors.Is(err, io.EOF) {
		return meta{}, damaged(id, "the file ends before it")
	} else if err != nil {
		return meta{}, fmt.Errorf("read page %d: %w", id, err)
	}
	m := b[header:]
	sum := fnv.New64a()
	sum.Write(m[:metaSum])
	switch {
	case order.Uint32(m) != magic || order.Uint32(m[4:]) != version:
		return meta{}, damaged(id, "not the head of a bbolt file of version %d", version)
	case order.Uint64(m[metaSum:]) != sum.Sum64():
		return meta{}, damaged(id, "wrong checksum")
	case order.Uint64(b[:]) != id || order.Uint16(b[8:]) != isMeta:
		return meta{}, damaged(id, "the header names page %d with flags %#x", order.Uint64(b[:]), order.Uint16(b[8:]))
	}
	out := meta{
		size: uint64(order.Uint32(m[8:])), root: order.Uint64(m[16:]),
		freelist: order.Uint64(m[32:]), end: order.Uint64(m[40:]), tx: order.Uint64(m[48:]),
	}
	if out.size < minSize || out.size > maxSize || out.size&(out.size-1) != 0 {
		return meta{}, damaged(id, "pages of %d bytes", out.size)
	}
	return out, nil
}

// reach marks n pages from id on as referenced. A second reference is damage.
func (w *walk) reach(id, n uint64) error {
	if id < 2 || id >= w.end || n > w.end-id {
		return damaged(id, "%d pages from here, in a file of %d", n, w.end)
	}
	for i := id; i < id+n; i++ {
		if w.seen[i/64]&(1<<(i%64)) != 0 {
			return damaged(i, "referenced twice")
		}
		w.seen[i/64] |= 1 << (i % 64)
	}
	return nil
}

// read reads a page and its overflow pages into the buffer of a level.
func (w *walk) read(id uint64, depth int) ([]byte, error) {
	if depth >= maxDepth {
		return nil, damaged(id, "more than %d levels", maxDepth)
	}
	if err := w.reach(id, 1); err != nil {
		return nil, err
	}
	b, err := w.fill(id, 1, depth)
	if err != nil {
		return nil, err
	}
	if got := order.Uint64(b); got != id {
		return nil, damaged(id, "the header names page %d", got)
	}
	if more := uint64(order.Uint32(b[12:])); more > 0 {
		if err := w.reach(id+1, more); err != nil {
			return nil, err
		}
		return w.fill(id, 1+more, depth)
	}
	return b, nil
}

// fill reads n pages, which must lie within the file.
func (w *walk) fill(id, n uint64, depth int) ([]byte, error) {
	if uint64(cap(w.bufs[depth])) < n*w.size {
		w.bufs[depth] = make([]byte, n*w.size)
	}
	b := w.bufs[depth][:n*w.size]
	if _, err := w.file.ReadAt(b, int64(id*w.size)); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read page %d: %w", id, err)
	} else if err != nil {
		return nil, damaged(id, "the file ends within it")
	}
	return b, nil
}

// freelist checks the list of free pages, if the file has one.
func (w *walk) freelist(id uint64) error {
	if id == noFreelist {
		return nil
	}
	b, err := w.read(id, 0)
	if err != nil {
		return err
	}
	if flags := order.Uint16(b[8:]); flags != isFreelist {
		return damaged(id, "flags %#x of a freelist", flags)
	}
	n, ids := uint64(order.Uint16(b[10:])), b[header:]
	if n == 0xffff {
		n, ids = order.Uint64(ids), ids[8:]
	}
	if n > uint64(len(ids))/8 {
		return damaged(id, "%d free pages", n)
	}
	for i := range n {
		if err := w.reach(order.Uint64(ids[8*i:]), 1); err != nil {
			return err
		}
	}
	return nil
}

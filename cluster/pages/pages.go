// Package pages reads a bbolt file before bbolt does, which maps it and trusts it:
// a changed byte in a page's head makes it panic in a goroutine of its own, fault,
// fill the memory, or take an older state for the last one without a word.
//
// From the two meta pages it walks the B+tree by plain reads. Each page is where it
// is named, within the file, reached once; its elements lie one after another with
// nothing between them, as bbolt writes them; keys ascend within what the parent says.
package pages

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// ErrDamaged is wrapped by every error about what a file holds. Others are those of
// reading it, and of visit.
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

// meta is what one of the first two pages says.
type meta struct{ size, root, freelist, end, tx uint64 }

// walk is one look at a file.
type walk struct {
	file  io.ReaderAt
	size  uint64 // of a page
	end   uint64 // no page has this number or a higher one
	seen  []uint64
	bufs  [maxDepth][]byte // a page for each level, of which the buckets' is 0: a parent is at hand while its children are read
	visit func(bucket string, key, value []byte) error
}

// Check reads all that the last transaction of a file of that length left, and hands
// visit each key of the buckets at the top, in order; there may be no others. What
// visit is given is only valid until it returns.
//
// Both meta pages must be good. bbolt goes by the older one where the newer is not,
// and so forgets a transaction that was acknowledged; one that was cut off by a crash
// is not the reason, since a meta lies within a sector.
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

// top walks the page with the buckets, which few of them never fill.
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

// readMeta reads one of the first two pages.
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
		return meta{}, damaged(id, "its checksum is another")
	case order.Uint64(b[:]) != id || order.Uint16(b[8:]) != isMeta:
		return meta{}, damaged(id, "it says that it is page %d with flags %#x", order.Uint64(b[:]), order.Uint16(b[8:]))
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

// reach notes that n pages are reached from an id on, each for the first time.
func (w *walk) reach(id, n uint64) error {
	if id < 2 || id >= w.end || n > w.end-id {
		return damaged(id, "%d pages from there, but there are %d", n, w.end)
	}
	for i := id; i < id+n; i++ {
		if w.seen[i/64]&(1<<(i%64)) != 0 {
			return damaged(i, "two places name it")
		}
		w.seen[i/64] |= 1 << (i % 64)
	}
	return nil
}

// read reads a page with what it has of further ones into a level's buffer.
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
		return nil, damaged(id, "it says that it is page %d", got)
	}
	if more := uint64(order.Uint32(b[12:])); more > 0 {
		if err := w.reach(id+1, more); err != nil {
			return nil, err
		}
		return w.fill(id, 1+more, depth)
	}
	return b, nil
}

// fill reads n pages that are known to be within the file.
func (w *walk) fill(id, n uint64, depth int) ([]byte, error) {
	if uint64(cap(w.bufs[depth])) < n*w.size {
		w.bufs[depth] = make([]byte, n*w.size)
	}
	b := w.bufs[depth][:n*w.size]
	if _, err := w.file.ReadAt(b, int64(id*w.size)); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read page %d: %w", id, err)
	} else if err != nil {
		return nil, damaged(id, "the file ends before it does")
	}
	return b, nil
}

// freelist looks at the list of free pages, where the file has one.
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

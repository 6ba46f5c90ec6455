package boltcheck

import "bytes"

// bounds limit the keys of a page: not less than from, less than before. Nil is no
// bound.
type bounds struct{ from, before []byte }

// each is called for every element of a leaf.
type each func(flags uint32, key, value []byte) error

// tree walks a page and those below it. An empty leaf is valid only as the root of a
// bucket, which is the page without bounds.
func (w *walk) tree(id uint64, depth int, in bounds, fn each) error {
	b, err := w.read(id, depth)
	if err != nil {
		return err
	}
	switch flags := order.Uint16(b[8:]); flags {
	case isLeaf:
		_, err := leaf(id, b, in, fn)
		return err
	case isBranch:
		return w.branch(id, b, depth, in, fn)
	default:
		return damaged(id, "flags %#x", flags)
	}
}

func (w *walk) branch(id uint64, b []byte, depth int, in bounds, fn each) error {
	count := int(order.Uint16(b[10:]))
	at := header + element*count
	if count == 0 || at > len(b) {
		return damaged(id, "%d children", count)
	}
	var keys [][]byte
	for i := range count {
		e := b[header+element*i:]
		key, next, err := data(id, b, header+element*i, order.Uint32(e), order.Uint32(e[4:]), 0, at)
		if err != nil {
			return err
		}
		if err := ordered(id, key, last(keys), in); err != nil {
			return err
		}
		keys, at = append(keys, key), next
	}
	for i := range count {
		below := bounds{from: keys[i], before: in.before}
		if i+1 < count {
			below.before = keys[i+1]
		}
		if err := w.tree(order.Uint64(b[header+element*i+8:]), depth+1, below, fn); err != nil {
			return err
		}
	}
	return nil
}

func last(keys [][]byte) []byte {
	if len(keys) == 0 {
		return nil
	}
	return keys[len(keys)-1]
}

// leaf checks the elements of a leaf and returns the offset at which their data end.
func leaf(id uint64, b []byte, in bounds, fn each) (end int, err error) {
	count := int(order.Uint16(b[10:]))
	at := header + element*count
	if at > len(b) || count == 0 && in.from != nil {
		return 0, damaged(id, "%d keys", count)
	}
	// Bbolt zeroes a page before it fills it: zeros show that the count was not lost.
	if count == 0 && len(b) >= header+element && !zero(b[header:header+element]) {
		return 0, damaged(id, "data, but a count of 0")
	}
	var previous []byte
	for i := range count {
		e := b[header+element*i:]
		k := order.Uint32(e[8:])
		both, next, err := data(id, b, header+element*i, order.Uint32(e[4:]), k, order.Uint32(e[12:]), at)
		if err != nil {
			return 0, err
		}
		key := both[:k:k]
		if err := ordered(id, key, previous, in); err != nil {
			return 0, err
		}
		if err := fn(order.Uint32(e), key, both[k:]); err != nil {
			return 0, err
		}
		previous, at = key, next
	}
	return at, nil
}

func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// data returns the key and value of an element, and the offset at which they end.
// They must begin at offset at, where the data of the previous element ended.
func data(id uint64, b []byte, from int, pos, key, value uint32, at int) ([]byte, int, error) {
	end := uint64(at) + uint64(key) + uint64(value)
	if uint64(from)+uint64(pos) != uint64(at) || key == 0 || end > uint64(len(b)) {
		return nil, 0, damaged(id, "an element's data at %d, %d and %d bytes long, want them at %d of %d", uint64(from)+uint64(pos), key, value, at, len(b))
	}
	return b[at:end:end], int(end), nil
}

func ordered(id uint64, key, previous []byte, in bounds) error {
	if previous != nil && bytes.Compare(previous, key) >= 0 || in.from != nil && bytes.Compare(in.from, key) > 0 || in.before != nil && bytes.Compare(key, in.before) >= 0 {
		return damaged(id, "key %x out of order", key)
	}
	return nil
}

// bucket walks one bucket. The value of a small bucket is its only page.
func (w *walk) bucket(in uint64, name string, value []byte) error {
	fn := func(flags uint32, key, value []byte) error {
		if flags != 0 {
			return damaged(in, "bucket %q: flags %#x of key %x", name, flags, key)
		}
		return w.visit(name, key, value)
	}
	if len(value) < header {
		return damaged(in, "bucket %q of %d bytes", name, len(value))
	}
	if root := order.Uint64(value); root != 0 {
		if len(value) != header {
			return damaged(in, "bucket %q has a page and %d bytes", name, len(value))
		}
		return w.tree(root, 1, bounds{}, fn)
	}
	b := value[header:]
	if len(b) < header || order.Uint64(b) != 0 || order.Uint16(b[8:]) != isLeaf || order.Uint32(b[12:]) != 0 {
		return damaged(in, "inline bucket %q is not a leaf", name)
	}
	end, err := leaf(in, b, bounds{}, fn)
	if err == nil && end != len(b) {
		err = damaged(in, "bucket %q ends after %d of %d bytes", name, end, len(b))
	}
	return err
}

package ownership

import (
	"reflect"
	"slices"
	"testing"

	"quorate/fsm/ledger"
	"quorate/testing/golden"
)

// TestPingsStay: the bytes of pings and of their answers are those of earlier
// versions.
func TestPingsStay(t *testing.T) {
	f := golden.Open(t, "testdata/pings.txt")
	for name, q := range map[string]Ping{
		"ping":       {From: ledger.Member{ID: "n1", Boot: 4}, Epoch: 300},
		"ping/large": {From: ledger.Member{ID: "node-0123456789.example", Boot: 1 << 40}, Epoch: 1 << 63},
	} {
		b, err := q.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := DecodePing(f.Compare(name, b)); err != nil || got != q {
			t.Errorf("%s is read as %+v, %v", name, got, err)
		}
	}
	imported := make([]byte, 512)
	imported[0], imported[511] = 0x81, 0xff
	for name, p := range map[string]Pong{
		"health/zero": {Imported: []byte{}},
		"health/full": {
			Boot: 3, Ready: true, Leaving: true, AppliedIndex: 1 << 40, AppliedEpoch: 300, Wall: 1_700_000_000_123, HashIndex: 70_000, Hash: 1 << 63,
			Leases: 4096, Incomplete: 12, Reaches: []string{"n1", "n2"}, Granted: true, Removed: true, Epoch: 299, CommandVersion: 3, Term: 8, Imported: imported,
		},
		"health/ready": {
			Boot: 1, Ready: true, AppliedIndex: 9, AppliedEpoch: 4, Wall: -1, Reaches: []string{"n3"}, Granted: true, CommandVersion: 3, Term: 200, Imported: []byte{},
		},
	} {
		b, err := p.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := DecodePong(f.Compare(name, b)); err != nil || !reflect.DeepEqual(got, p) {
			t.Errorf("%s is read as %+v, %v", name, got, err)
		}
	}
}

// withFields returns a message of so many fields, with values of its own for those
// that a later version has added.
func withFields(t *testing.T, b []byte, known, fields byte) []byte {
	t.Helper()
	switch {
	case b[0]&0xf0 == 0x90:
		b = b[1:]
	case b[0] == 0xdc:
		b = b[3:]
	default:
		t.Fatalf("% x begins no array", b[:3])
	}
	b = append([]byte{0xdc, 0, fields}, b...)
	for ; known < fields; known++ {
		b = append(b, "\x93\x01\x81\xa5later\xc0\xc3"...) // [1, {"later": nil}, true]
	}
	return b
}

// TestMessagesOfLaterVersionsAreRead: in a rolling upgrade nodes of two versions
// ping each other.
func TestMessagesOfLaterVersionsAreRead(t *testing.T) {
	q := Ping{From: ledger.Member{ID: "n1", Boot: 4}, Epoch: 9}
	p := Pong{Boot: 3, Ready: true, AppliedEpoch: 4, Reaches: []string{"n1"}, Imported: []byte{}}
	ping, err := q.Encode()
	if err != nil {
		t.Fatal(err)
	}
	pong, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name       string
		ping, pong byte
		read       bool
	}{
		{"as today", pingFields, pongFields, true},
		{"one field more", pingFields + 1, pongFields + 1, true},
		{"as many as there may be", maxFields, maxFields, true},
		{"one field less", pingFields - 1, pongFields - 1, false},
		{"none", 0, 0, false},
		{"too many", maxFields + 1, maxFields + 1, false},
	} {
		if got, err := DecodePing(withFields(t, ping, pingFields, c.ping)); (err == nil) != c.read || c.read && got != q {
			t.Errorf("ping, %s: %+v, %v", c.name, got, err)
		}
		if got, err := DecodePong(withFields(t, pong, pongFields, c.pong)); (err == nil) != c.read || c.read && !reflect.DeepEqual(got, p) {
			t.Errorf("answer, %s: %+v, %v", c.name, got, err)
		}
	}
}

// TestDamagedMessagesAreRefused: a message must be whole, and what a later version
// has added must be values.
func TestDamagedMessagesAreRefused(t *testing.T) {
	q := Ping{From: ledger.Member{ID: "n1", Boot: 4}, Epoch: 9}
	ping, err := q.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"a byte more":                 append(slices.Clone(ping), 0),
		"a field that does not come":  append([]byte{0x94}, ping[1:]...),
		"a field that is no value":    append(append([]byte{0x94}, ping[1:]...), 0xc1),
		"a field 4 GiB long":          append(append([]byte{0x94}, ping[1:]...), 0xc6, 0xff, 0xff, 0xff, 0xff),
		"a field of arrays in arrays": append(append([]byte{0x94}, ping[1:]...), "\x91\x91\x91\x91\x91\x91\x91\x91\x01"...),
	} {
		if got, err := DecodePing(b); err == nil {
			t.Errorf("%s is read as %+v", name, got)
		}
	}
}

// FuzzMessages: whatever another node sends is decoded in bounds, and what is
// understood is understood alike a second time.
func FuzzMessages(f *testing.F) {
	p := Pong{Boot: 3, Ready: true, AppliedIndex: 9, AppliedEpoch: 4, Reaches: []string{"n1", "n2"}, Imported: make([]byte, 512), CommandVersion: 3, Term: 8}
	q := Ping{From: ledger.Member{ID: "n1", Boot: 4}, Epoch: 9}
	for _, encode := range []func() ([]byte, error){p.Encode, q.Encode} {
		b, err := encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("\xdd\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := DecodePong(b); err == nil {
			again(t, p, p.Encode, DecodePong)
		}
		if q, err := DecodePing(b); err == nil {
			again(t, q, q.Encode, DecodePing)
		}
	})
}

func again[T any](t *testing.T, v T, encode func() ([]byte, error), decode func([]byte) (T, error)) {
	t.Helper()
	b, err := encode()
	if err != nil {
		t.Errorf("%+v: %v", v, err)
		return
	}
	if got, err := decode(b); err != nil || !reflect.DeepEqual(got, v) {
		t.Errorf("%+v came back as %+v, %v", v, got, err)
	}
}

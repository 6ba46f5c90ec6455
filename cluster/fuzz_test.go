package cluster

import (
	"bytes"
	"reflect"
	"testing"

	"quorate/cluster/lease"
)

// FuzzMessages: whatever another node sends is decoded in bounds, and what is
// understood is understood alike a second time.
func FuzzMessages(f *testing.F) {
	h := health{boot: 3, ready: true, applied: 9, epoch: 4, reaches: []string{"n1", "n2"}, holding: make([]byte, 512), knows: 3, term: 8}
	m := meta{ID: "n1", Boot: 2, HTTP: "h:1", Peer: "p:2", Version: "v1", Expect: 3, Formed: true, Cluster: "c1"}
	founding := founding{cluster: "c1", ids: []string{"n1", "n2", "n3"}}
	ping := lease.Request{Life: lease.Life{ID: "n1", Boot: 4}, Epoch: 9}
	for _, encode := range []func() ([]byte, error){h.encode, m.encode, founding.encode, func() ([]byte, error) { return encodePing(ping) }} {
		b, err := encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("\xdd\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := decodeHealth(b); err == nil {
			again(t, h, func() ([]byte, error) { return h.encode() }, decodeHealth)
		}
		if m, err := decodeMeta(b); err == nil {
			again(t, m, func() ([]byte, error) { return m.encode() }, decodeMeta)
		}
		if p, err := decodeFounding(b); err == nil {
			again(t, p, func() ([]byte, error) { return p.encode() }, decodeFounding)
		}
		if q, err := decodePing(b); err == nil {
			again(t, q, func() ([]byte, error) { return encodePing(q) }, decodePing)
		}
		if results, _, err := decodeReply(b); err == nil && len(results) > len(b) {
			t.Errorf("%d results of %d bytes", len(results), len(b))
		}
	})
}

func again[T any](t *testing.T, v T, encode func() ([]byte, error), decode func([]byte) (T, error)) {
	t.Helper()
	b, err := encode()
	if err != nil {
		return // it does not fit, such as meta of the greatest addresses
	}
	got, err := decode(bytes.Clone(b))
	if err != nil || !reflect.DeepEqual(got, v) {
		t.Errorf("%+v came back as %+v, %v", v, got, err)
	}
}

package cluster

import (
	"bytes"
	"reflect"
	"testing"
)

// FuzzMessages: whatever another node sends is decoded in bounds, and what is
// understood is understood alike a second time.
func FuzzMessages(f *testing.F) {
	m := meta{ID: "n1", Boot: 2, HTTP: "h:1", Peer: "p:2", Version: "v1", Expect: 3, Formed: true, Cluster: "c1"}
	p := proposal{cluster: "c1", ids: []string{"n1", "n2", "n3"}}
	for _, encode := range []func() ([]byte, error){m.encode, p.encode} {
		b, err := encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("\xdd\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := decodeMeta(b); err == nil {
			again(t, m, func() ([]byte, error) { return m.encode() }, decodeMeta)
		}
		if p, err := decodeBootstrap(b); err == nil {
			again(t, p, func() ([]byte, error) { return p.encode() }, decodeBootstrap)
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

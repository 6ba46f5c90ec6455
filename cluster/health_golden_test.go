package cluster

import (
	"reflect"
	"testing"

	"quorate/cluster/lease"
	"quorate/testing/golden"
)

// TestPingsStay: the bytes of pings and of their answers are those of earlier
// versions.
func TestPingsStay(t *testing.T) {
	f := golden.Open(t, "testdata/pings.txt")
	for name, q := range map[string]lease.Request{
		"ping":       {Life: lease.Life{ID: "n1", Boot: 4}, Epoch: 300},
		"ping/large": {Life: lease.Life{ID: "node-0123456789.example", Boot: 1 << 40}, Epoch: 1 << 63},
	} {
		b, err := encodePing(q)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decodePing(f.Compare(name, b)); err != nil || got != q {
			t.Errorf("%s is read as %+v, %v", name, got, err)
		}
	}
	holding := make([]byte, 512)
	holding[0], holding[511] = 0x81, 0xff
	for name, h := range map[string]health{
		"health/zero": {holding: []byte{}},
		"health/full": {
			boot: 3, ready: true, leaving: true, applied: 1 << 40, epoch: 300, wall: 1_700_000_000_123, hashed: 70_000, hash: 1 << 63,
			leases: 4096, lacking: 12, reaches: []string{"n1", "n2"}, granted: true, removed: true, since: 299, knows: 3, term: 8, holding: holding,
		},
		"health/ready": {boot: 1, ready: true, applied: 9, epoch: 4, wall: -1, reaches: []string{"n3"}, granted: true, knows: 3, term: 200, holding: []byte{}},
	} {
		b, err := h.encode()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decodeHealth(f.Compare(name, b)); err != nil || !reflect.DeepEqual(got, h) {
			t.Errorf("%s is read as %+v, %v", name, got, err)
		}
	}
}

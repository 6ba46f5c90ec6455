package cluster

import (
	"bytes"
	"sync"
	"testing"
)

func key(c byte) []byte { return bytes.Repeat([]byte{c}, 32) }

// Keys come and go while others read them.
func TestReplaceKeys(t *testing.T) {
	ring, err := keyring([][]byte{key('a'), key('b')})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			seen := 0
			for _, k := range ring.GetKeys() {
				seen += int(k[0])
			}
			if seen == 0 {
				t.Error("no keys")
			}
		}
	})
	for _, want := range []string{"ab", "cab", "ca", "c", "dc", "cd", "d", "abcdefg", "gfedcba", "g", "abc", "xyz"} {
		var keys [][]byte
		for i := range len(want) {
			keys = append(keys, key(want[i]))
		}
		if err := replaceKeys(ring, keys); err != nil {
			t.Fatal(err)
		}
		var got []byte
		for _, k := range ring.GetKeys() {
			got = append(got, k[0])
		}
		if string(got) != want {
			t.Errorf("keys %s, want %s", got, want)
		}
	}
	close(stop)
	wg.Wait()
	if err := replaceKeys(ring, [][]byte{key('x'), []byte("short")}); err == nil {
		t.Error("a short key was taken")
	}
	if err := (&Node{}).SetGossipKeys([][]byte{key('a')}); err == nil {
		t.Error("keys for a node that began without any")
	}
}

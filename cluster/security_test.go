package cluster

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
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

func TestSparing(t *testing.T) {
	for most, due := range [][]bool{
		1: {true, false, false, true, true},
		2: {true, true, false, true, true},
	} {
		if due == nil {
			continue
		}
		s := sparing{most: most}
		at := time.Unix(0, 0)
		var left uint64
		for i, after := range []time.Duration{0, 0, span - 1, 1, span} {
			at = at.Add(after)
			n, ok := s.now(at)
			if ok != due[i] || n != left && ok {
				t.Errorf("at most %d, step %d: %d, %v", most, i, n, ok)
			}
			if left++; ok {
				left = 0
			}
		}
	}
	if _, due := new(sparing).now(time.Time{}.Add(1)); !due {
		t.Error("the zero value lets nothing through")
	}
}

// What strangers can cause is told of, and not each time.
func TestGossipDoesNotFillTheLog(t *testing.T) {
	var out bytes.Buffer
	w := logWriter{log: slog.New(slog.NewTextHandler(&out, nil)), sparing: &sparing{most: gossipLines}}
	for range 1000 {
		if _, err := w.Write([]byte("[ERR] memberlist: failed to receive: x\nlevel=ERROR msg=forged from=1.2.3.4:5\n")); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(out.String(), "\n"); n != gossipLines {
		t.Errorf("%d lines", n)
	}
	if strings.Contains(out.String(), "\nlevel=") {
		t.Errorf("a line was forged: %s", out.String())
	}
	if _, err := w.Write([]byte("[INFO] memberlist: hello\n")); err != nil || !strings.Contains(out.String(), "hello") {
		t.Error("other lines are left out too")
	}
}

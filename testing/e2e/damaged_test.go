package e2e

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"quorate/testing/testcluster"
)

// bolt is a file of bbolt's with pages of the machine's usual size.
type bolt []byte

func (b bolt) page(id uint64) []byte {
	size := uint64(binary.NativeEndian.Uint32(b[24:]))
	return b[id*size : (id+1)*size]
}

// meta returns the one of the first two pages that is the last transaction's.
func (b bolt) meta() []byte {
	if binary.NativeEndian.Uint64(b.page(1)[64:]) > binary.NativeEndian.Uint64(b[64:]) {
		return b.page(1)
	}
	return b.page(0)
}

// buckets returns the page that names them.
func (b bolt) buckets() []byte { return b.page(binary.NativeEndian.Uint64(b.meta()[32:])) }

// element returns the i-th element of a page.
func element(page []byte, i int) []byte { return page[16+16*i : 32+16*i] }

// log returns the number of the log's first page, and of its leaf with the last
// entries.
func (b bolt) log(t *testing.T) (root, leaf uint64) {
	t.Helper()
	top := b.buckets()
	at := bytes.Index(top, []byte("logs"))
	root = binary.NativeEndian.Uint64(top[at+4:])
	leaf = root
	for binary.NativeEndian.Uint16(b.page(leaf)[8:]) == 1 { // a branch
		page := b.page(leaf)
		leaf = binary.NativeEndian.Uint64(element(page, int(binary.NativeEndian.Uint16(page[10:]))-1)[8:])
	}
	if leaf == root {
		t.Fatal("the log is a single page: this shows nothing")
	}
	return root, leaf
}

// TestADamagedLogIsRefused damages the log of a node that does not run, in ways of
// which some make bbolt panic, fault, or look for what has no end, and some it does
// not see: each start ends soon, in one line that says what to do.
func TestADamagedLogIsRefused(t *testing.T) {
	c := testcluster.Start(t, 1)
	n := c.Nodes[0]
	for i := range 60 {
		n.Purchase(t, fmt.Sprintf("damaged-%d", i), "k", "5")
	}
	c.Kill(0)
	good, err := os.ReadFile(filepath.Join(n.DataDir, "raft.db"))
	if err != nil {
		t.Fatal(err)
	}
	gossip(t, n.Gossip)
	root, leaf := bolt(good).log(t)
	for name, damage := range map[string]func(bolt) bolt{
		"overflow of a leaf":            func(b bolt) bolt { b.page(leaf)[15] ^= 0x80; return b },
		"overflow of a branch":          func(b bolt) bolt { b.page(root)[14] ^= 0x20; return b },
		"id of a page":                  func(b bolt) bolt { b.page(leaf)[0] ^= 1; return b },
		"flags of a page":               func(b bolt) bolt { b.page(leaf)[8] ^= 4; return b },
		"number of entries":             func(b bolt) bolt { b.page(leaf)[10] ^= 1; return b },
		"number of children":            func(b bolt) bolt { b.page(root)[11] ^= 0x40; return b },
		"pointer to a child":            func(b bolt) bolt { element(b.page(root), 0)[12] ^= 0x40; return b },
		"position of an entry":          func(b bolt) bolt { element(b.page(leaf), 0)[7] ^= 0x80; return b },
		"size of an entry":              func(b bolt) bolt { element(b.page(leaf), 0)[15] ^= 0x40; return b },
		"a leaf of zeros":               func(b bolt) bolt { clear(b.page(leaf)); return b },
		"byte of an entry":              func(b bolt) bolt { page := b.page(leaf); page[bytes.LastIndex(page, []byte("damaged"))] ^= 1; return b },
		"cut in the middle":             func(b bolt) bolt { return b[:len(b)/2] },
		"cut after the first page":      func(b bolt) bolt { return b[:4096] },
		"the last transaction's head":   func(b bolt) bolt { b.meta()[64] ^= 1; return b },
		"name of the bucket of the log": func(b bolt) bolt { top := b.buckets(); top[bytes.Index(top, []byte("logs"))] ^= 1; return b },
		"head of the file is another's": func(b bolt) bolt {
			copy(b, "#!/bin/sh")
			copy(b.page(1), "#!/bin/sh")
			copy(b[16:], "123456")
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(n.DataDir)); err != nil {
				t.Fatal(err)
			}
			b := damage(bytes.Clone(good))
			if bytes.Equal(b, good) {
				t.Fatal("nothing is damaged")
			}
			if err := os.WriteFile(filepath.Join(dir, "raft.db"), b, 0o600); err != nil {
				t.Fatal(err)
			}
			args := slices.Clone(n.Args)
			args[slices.Index(args, "--data-dir")+1] = dir
			got := testcluster.Run(t, 15*time.Second, args...)
			var said string // the node's log lines are on stderr as well
			for line := range strings.Lines(got.Stderr) {
				if strings.HasPrefix(line, "quorate: ") {
					said = line
				}
			}
			if got.Code != 1 || !strings.Contains(said, "the log on this disk is damaged: replace this node") {
				t.Errorf("exit code %d, and on stderr %s", got.Code, tail(got.Stderr))
			}
			if strings.Contains(got.Stderr, "goroutine ") || strings.Contains(got.Stderr, "panic") {
				t.Errorf("a panic: %s", tail(got.Stderr))
			}
		})
	}
	c.Restart(0) // what all of that was copied from is sound
}

// gossip sends packets to an address until the test ends, as nodes do to one that
// they know: it must end in spite of them.
func gossip(t *testing.T, addr string) {
	conn, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_, _ = conn.Write([]byte("gossip")) // refused while nobody listens
			case <-stop:
				return
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-stopped; _ = conn.Close() })
}

func tail(s string) string { return s[max(0, len(s)-400):] }

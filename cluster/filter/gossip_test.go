package filter

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
)

func node(change m) m {
	n := m{"Name": "n1.1", "Node": "n1.1", "Addr": []byte{127, 0, 0, 1}, "Port": 7081, "Meta": make([]byte, 512), "Incarnation": 1, "Vsn": []byte{1, 5, 5, 0, 0, 0}}
	for k, v := range change {
		if n[k] = v; v == nil {
			delete(n, k)
		}
	}
	return n
}

func badPackets(t testing.TB) map[string]string {
	message := func(kind byte, v any) string { return string([]byte{kind}) + encode(t, v) }
	deep := any(1)
	for range 10_000 {
		deep = []any{deep}
	}
	long := strings.Repeat("n", 129)
	return map[string]string{
		"an empty message":              "\x04",
		"a type that there is not":      message(77, m{}),
		"compressed":                    message(compressed, m{"Algo": 0, "Buf": []byte{1}}),
		"encrypted":                     "\x0a" + strings.Repeat("x", 40),
		"an application's":              "\x08hello",
		"a label":                       "\xf4\x05other" + message(ping, m{"SeqNo": 1}),
		"nested":                        "\x07\x01\x00\x03\x07\x00\x00",
		"fewer bytes than lengths":      "\x07\x05\x00",
		"no number of messages":         "\x07",
		"a message cut off":             "\x07\x01\x00\xff\x00",
		"a bad one in a row":            "\x07\x01\x00\x02\x04\x81",
		"a claim of 4 GiB":              "\x02\x81" + encode(t, "Payload") + raw("c6 ffffffff"),
		"a map of 2^32-1":               "\x04" + raw("df ffffffff"),
		"10,000 levels":                 message(ping, m{"Node": deep}),
		"meta of 513 bytes":             message(alive, node(m{"Meta": make([]byte, 513)})),
		"one version":                   message(alive, node(m{"Vsn": []byte{1}})),
		"no versions":                   message(alive, node(m{"Vsn": nil})),
		"an address of 5 bytes":         message(alive, node(m{"Addr": []byte{1, 2, 3, 4, 5}})),
		"a long name":                   message(alive, node(m{"Node": long})),
		"a suspect with a long name":    message(suspect, m{"Node": long}),
		"an array":                      message(dead, []any{1, "n1", "n2"}),
		"a field twice":                 "\x05\x82" + encode(t, "Node") + encode(t, "a") + encode(t, "Node") + encode(t, "b"),
		"a checksum, then nothing good": "\x0c\x00\x00\x00\x00\x08hello",
	}
}

func badStreams(t testing.TB) map[string]string {
	list := func(nodes, user any, states ...any) string {
		s := "\x06" + encode(t, m{"Nodes": nodes, "UserStateLen": user, "Join": true})
		for _, n := range states {
			s += encode(t, n)
		}
		return s
	}
	return map[string]string{
		"HTTP":                          "GET / HTTP/1.1\r\n\r\n",
		"a message of 20 MiB":           "\x08" + encode(t, m{"UserMsgLen": 20 << 20}),
		"compressed":                    "\x09" + encode(t, m{"Algo": 0, "Buf": []byte{}}),
		"encrypted, without a key":      "\x0a\x00\x00\x00\x01x",
		"minus one node":                list(-1, 0),
		"2^31 nodes":                    list(1<<31, 0),
		"1025 nodes":                    list(1025, 0),
		"data of -1 byte":               list(0, -1),
		"data of 1 GiB":                 list(0, 1<<30),
		"a node with one version":       list(1, 0, node(m{"Vsn": []byte{1}})),
		"a node without versions":       list(1, 0, node(m{"Vsn": nil})),
		"a node with meta of 513 bytes": list(1, 0, node(m{"Meta": make([]byte, 513)})),
		"a node that is an array":       list(1, 0, []any{1}),
		"a header that claims 4 GiB":    "\x06\x81" + encode(t, "Nodes") + raw("c6 ffffffff"),
	}
}

func TestBadGossipIsRefused(t *testing.T) {
	for name, bad := range badPackets(t) {
		if err := checkPacket([]byte(bad), false); !errors.Is(err, ErrRefused) {
			t.Errorf("packet, %s: %v", name, err)
		}
	}
	for name, bad := range badStreams(t) {
		if got, err := readStream(bufio.NewReader(strings.NewReader(bad)), false); !errors.Is(err, ErrRefused) {
			t.Errorf("stream, %s: %x %v", name, got, err)
		}
	}
	for name, bad := range map[string]string{"open": "\x06\x80", "20 MiB": "\x0a\x01\x40\x00\x00"} {
		if got, err := readStream(bufio.NewReader(strings.NewReader(bad)), true); !errors.Is(err, ErrRefused) {
			t.Errorf("stream, encrypted, %s: %x %v", name, got, err)
		}
	}
}

func member(t *testing.T, name string, keys *memberlist.Keyring) (*memberlist.Memberlist, *atomic.Int64) {
	t.Helper()
	quiet := log.New(io.Discard, "", 0)
	inner, err := memberlist.NewNetTransport(&memberlist.NetTransportConfig{BindAddrs: []string{"127.0.0.1"}, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	refused := &atomic.Int64{}
	c := memberlist.DefaultLocalConfig()
	c.Keyring, c.Logger, c.Name, c.EnableCompression = keys, quiet, name, false
	c.AdvertiseAddr, c.AdvertisePort = "127.0.0.1", inner.GetAutoBindPort()
	c.BindPort = c.AdvertisePort
	c.ProbeInterval, c.GossipInterval, c.PushPullInterval = 20*time.Millisecond, 5*time.Millisecond, 50*time.Millisecond
	c.Transport = NewGossip(inner, c.EncryptionEnabled(), func(from net.Addr, err error) {
		if errors.Is(err, ErrRefused) {
			t.Logf("%s refused something of %v: %v", name, from, err)
			refused.Add(1)
		}
	})
	list, err := memberlist.Create(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := list.Shutdown(); err != nil {
			t.Error(err)
		}
	})
	return list, refused
}

// TestMemberlistGetsThrough: pings, lists and news of eight nodes, one of which
// dies, open and encrypted.
func TestMemberlistGetsThrough(t *testing.T) {
	for _, isEncrypted := range []bool{false, true} {
		t.Run(fmt.Sprintf("encrypted %v", isEncrypted), func(t *testing.T) {
			var keys *memberlist.Keyring
			if isEncrypted {
				var err error
				if keys, err = memberlist.NewKeyring(nil, bytes.Repeat([]byte{1}, 32)); err != nil {
					t.Fatal(err)
				}
			}
			first, refused := member(t, "n0.1", keys)
			all := []*memberlist.Memberlist{first}
			counts := []*atomic.Int64{refused}
			for i := range 7 {
				list, refused := member(t, fmt.Sprintf("n%d.1", i+1), keys)
				all, counts = append(all, list), append(counts, refused)
				if _, err := list.Join([]string{first.LocalNode().Address()}); err != nil {
					t.Fatal(err)
				}
			}
			see := func(n int) {
				t.Helper()
				for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
					complete := 0
					for _, list := range all {
						if list.NumMembers() == n {
							complete++
						}
					}
					if complete == len(all) {
						return
					}
					if time.Now().After(end) {
						t.Fatalf("%d of %d nodes see %d", complete, len(all), n)
					}
				}
			}
			see(8)
			gone := all[7]
			all = all[:7]
			if err := gone.Shutdown(); err != nil {
				t.Fatal(err)
			}
			see(7)
			for i, refused := range counts {
				if n := refused.Load(); n > 0 {
					t.Errorf("n%d refused %d messages", i, n)
				}
			}
		})
	}
}

func FuzzPackets(f *testing.F) {
	for _, bad := range badPackets(f) {
		if len(bad) < 2048 {
			f.Add([]byte(bad))
		}
	}
	f.Add([]byte("\x04" + encode(f, node(nil))))
	f.Add([]byte("\x07\x01\x00\x09\x00" + encode(f, m{"SeqNo": 1})))
	f.Fuzz(func(t *testing.T, b []byte) { _ = checkPacket(b, false) }) // it must not panic
}

func FuzzStreams(f *testing.F) {
	for _, bad := range badStreams(f) {
		f.Add([]byte(bad), false)
	}
	f.Add([]byte("\x06"+encode(f, m{"Nodes": 1, "UserStateLen": 0})+encode(f, node(nil))), false)
	f.Add([]byte("\x0a\x00\x00\x00\x01x"), true)
	f.Fuzz(func(t *testing.T, b []byte, isEncrypted bool) {
		if got, err := readStream(bufio.NewReader(bytes.NewReader(b)), isEncrypted); err == nil && !bytes.HasPrefix(b, got) {
			t.Fatalf("%x came as %x", b, got)
		}
	})
}

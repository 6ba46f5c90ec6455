package filter

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"github.com/vmihailenco/msgpack/v5"
)

var limits = Limits{Entries: 8, Bytes: 1 << 20, Stall: time.Minute}

// layer is a stream layer with the filters in place.
type layer struct{ net.Listener }

func (l layer) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return Requests(conn, limits), nil
}

func (l layer) Dial(addr raft.ServerAddress, within time.Duration) (net.Conn, error) {
	conn, err := net.DialTimeout("tcp", string(addr), within)
	if err != nil {
		return nil, err
	}
	return Replies(conn), nil
}

func transport(t *testing.T) *raft.NetworkTransport {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tr := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: layer{ln}, MaxPool: 1, MaxRPCsInFlight: 1, Timeout: 10 * time.Second, Logger: hclog.NewNullLogger(), MsgpackUseNewTimeFormat: true,
	})
	t.Cleanup(func() { _ = tr.Close() })
	return tr
}

func servers(n int) (c raft.Configuration) {
	for i := range n {
		id := strings.Repeat("n", i+1)
		c.Servers = append(c.Servers, raft.Server{ID: raft.ServerID(id), Address: raft.ServerAddress(id + ":1"), Suffrage: raft.ServerSuffrage(i % 2)})
	}
	return c
}

// TestRaftGetsThrough: every message of Raft arrives as it was sent, and the answers come
// back, one after another on one connection.
func TestRaftGetsThrough(t *testing.T) {
	to, from := transport(t), transport(t)
	head := raft.RPCHeader{ProtocolVersion: 3, ID: []byte("n1"), Addr: []byte("127.0.0.1:1")}
	snapshot := bytes.Repeat([]byte("0123456789abcdef"), 10_000)
	entries := []*raft.Log{
		{Index: 8, Term: 7, Type: raft.LogCommand, Data: bytes.Repeat([]byte{0xc1}, 300_000), AppendedAt: time.Now().UTC()},
		{Index: 9, Term: 7, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(servers(7))},
		{Index: 10, Term: 7, Type: raft.LogNoop}, {Index: 11, Term: 7, Type: raft.LogBarrier},
	}
	calls := []struct {
		request any
		reply   any
		call    func(reply any) error
	}{}
	add := func(request, reply any, call func(any) error) {
		calls = append(calls, struct {
			request any
			reply   any
			call    func(any) error
		}{request, reply, call})
	}
	for range 2 {
		ae := &raft.AppendEntriesRequest{RPCHeader: head, Term: 7, PrevLogEntry: 7, PrevLogTerm: 6, Entries: entries, LeaderCommitIndex: 5}
		add(ae, &raft.AppendEntriesResponse{RPCHeader: head, Term: 7, LastLog: 9, Success: true}, func(r any) error {
			return from.AppendEntries("", to.LocalAddr(), ae, r.(*raft.AppendEntriesResponse))
		})
		beat := &raft.AppendEntriesRequest{RPCHeader: head, Term: 7}
		add(beat, &raft.AppendEntriesResponse{RPCHeader: head, Term: 7}, func(r any) error {
			return from.AppendEntries("", to.LocalAddr(), beat, r.(*raft.AppendEntriesResponse))
		})
		vote := &raft.RequestVoteRequest{RPCHeader: head, Term: 1 << 40, LastLogIndex: 8, LastLogTerm: 7, LeadershipTransfer: true}
		add(vote, &raft.RequestVoteResponse{RPCHeader: head, Term: 9, Granted: true}, func(r any) error {
			return from.RequestVote("", to.LocalAddr(), vote, r.(*raft.RequestVoteResponse))
		})
		pre := &raft.RequestPreVoteRequest{RPCHeader: head, Term: 3, LastLogIndex: 8, LastLogTerm: 7}
		add(pre, &raft.RequestPreVoteResponse{RPCHeader: head, Term: 9}, func(r any) error {
			return from.RequestPreVote("", to.LocalAddr(), pre, r.(*raft.RequestPreVoteResponse))
		})
		install := &raft.InstallSnapshotRequest{
			RPCHeader: head, SnapshotVersion: 1, Term: 3, LastLogIndex: 8, LastLogTerm: 7, Size: int64(len(snapshot)),
			Configuration: raft.EncodeConfiguration(servers(3)), ConfigurationIndex: 1, Peers: bytes.Repeat([]byte{0x90}, 2000),
		}
		add(install, &raft.InstallSnapshotResponse{RPCHeader: head, Term: 9, Success: true}, func(r any) error {
			return from.InstallSnapshot("", to.LocalAddr(), install, r.(*raft.InstallSnapshotResponse), bytes.NewReader(snapshot))
		})
		now := &raft.TimeoutNowRequest{RPCHeader: head}
		add(now, &raft.TimeoutNowResponse{RPCHeader: head}, func(r any) error {
			return from.TimeoutNow("", to.LocalAddr(), now, r.(*raft.TimeoutNowResponse))
		})
	}
	for _, c := range calls {
		done := make(chan error, 1)
		reply := reflect.New(reflect.TypeOf(c.reply).Elem()).Interface()
		go func() { done <- c.call(reply) }()
		select {
		case rpc := <-to.Consumer():
			if !reflect.DeepEqual(rpc.Command, c.request) {
				t.Errorf("%T came as %+v, want %+v", c.request, rpc.Command, c.request)
			}
			if rpc.Reader != nil {
				if got, err := io.ReadAll(rpc.Reader); err != nil || !bytes.Equal(got, snapshot) {
					t.Errorf("%d bytes of %d of a snapshot: %v", len(got), len(snapshot), err)
				}
			}
			rpc.Respond(c.reply, nil)
		case err := <-done:
			t.Fatalf("%T was not let through: %v", c.request, err)
		}
		if err := <-done; err != nil || !reflect.DeepEqual(reply, c.reply) {
			t.Errorf("the answer to %T is %+v, %v", c.request, reply, err)
		}
	}
}

type m = map[string]any

func encode(t testing.TB, v any) string {
	t.Helper()
	b, err := msgpack.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func raw(s string) string {
	b, _ := hex.DecodeString(strings.ReplaceAll(s, " ", "")) // constants of this file
	return string(b)
}

// badRequests are requests that must not reach a decoder.
func badRequests(t testing.TB) map[string]string {
	config := string(raft.EncodeConfiguration(servers(3)))
	snapshot := func(change m) string {
		q := m{"SnapshotVersion": 1, "Term": 3, "LastLogIndex": 8, "LastLogTerm": 7, "Size": 10, "Configuration": []byte(config)}
		for k, v := range change {
			if q[k] = v; v == nil {
				delete(q, k)
			}
		}
		return "\x02" + encode(t, q)
	}
	entries := func(e ...any) string { return "\x00" + encode(t, m{"Term": 1, "Entries": e}) }
	deep := any(1)
	for range 100_000 {
		deep = []any{deep}
	}
	return map[string]string{
		"an unknown type":                           "\xff" + encode(t, m{}),
		"an array of 2^32-1 entries":                "\x00\x81" + encode(t, "Entries") + raw("dd ffffffff"),
		"a map of 2^32-1 fields":                    "\x00" + raw("df ffffffff"),
		"4 GiB of bytes":                            "\x00\x81" + encode(t, "Leader") + raw("c6 ffffffff"),
		"a text of 4 GiB":                           "\x00\x81" + encode(t, "Leader") + raw("db ffffffff"),
		"an extension of 4 GiB":                     "\x00\x81" + encode(t, "Term") + raw("c9 ffffffff 01"),
		"an extension":                              "\x00\x81" + encode(t, "Term") + raw("d4 01 01"),
		"a byte that begins nothing":                "\x00\x81" + encode(t, "Term") + raw("c1"),
		"100,000 levels":                            "\x00" + encode(t, m{"Entries": deep}),
		"an entry that is nil":                      entries(nil),
		"an entry that is an array":                 entries([]any{1, 2, 3}),
		"an entry of an old type":                   entries(m{"Type": 2}),
		"an entry of an unknown type":               entries(m{"Type": 200}),
		"too many entries":                          entries(m{}, m{}, m{}, m{}, m{}, m{}, m{}, m{}, m{}),
		"garbage as a configuration":                entries(m{"Type": 5, "Data": []byte("garbage")}),
		"a configuration cut off":                   entries(m{"Type": 5, "Data": []byte(config[:len(config)-3])}),
		"a configuration that claims 4 GiB":         entries(m{"Type": 5, "Data": []byte("\x81" + encode(t, "Servers") + raw("dd ffffffff"))}),
		"a configuration with a member twice":       entries(m{"Type": 5, "Data": raft.EncodeConfiguration(raft.Configuration{Servers: append(servers(2).Servers, servers(1).Servers...)})}),
		"a configuration that is missing":           entries(m{"Type": 5}),
		"a request as an array":                     "\x01" + encode(t, []any{1, 2, 3}),
		"a request that is a number":                "\x01\x07",
		"a field twice":                             "\x01\x82" + encode(t, "Term") + "\x01" + encode(t, "Term") + "\x02",
		"a field without a name":                    "\x01\x81\x01\x01",
		"a term of 2^64-1":                          "\x01" + encode(t, m{"Term": uint64(1<<64 - 1)}),
		"a term below zero":                         "\x01" + encode(t, m{"Term": -1}),
		"a term that is a fraction":                 "\x01" + encode(t, m{"Term": 1.5}),
		"a name of 2000 bytes":                      "\x01" + encode(t, m{"ID": strings.Repeat("n", 2000)}),
		"more bytes than there may be":              entries(m{"Data": make([]byte, 2<<20)}),
		"a snapshot of 2^62 bytes":                  snapshot(m{"Size": int64(1 << 62)}),
		"a snapshot of -1 byte":                     snapshot(m{"Size": int64(-1)}),
		"a snapshot without a configuration":        snapshot(m{"Configuration": nil}),
		"a snapshot whose configuration is garbage": snapshot(m{"Configuration": []byte("garbage")}),
		"a snapshot of an old version":              snapshot(m{"SnapshotVersion": 0}),
		"a snapshot up to index 2^63":               snapshot(m{"LastLogIndex": uint64(1 << 63)}),
		"a TimeoutNow whose ID is a map":            "\x03" + encode(t, m{"ID": m{}}),
	}
}

func TestBadRequestsAreRefused(t *testing.T) {
	for name, bad := range badRequests(t) {
		t.Run(name, func(t *testing.T) {
			us, them := net.Pipe()
			defer us.Close()
			go func() {
				_, _ = them.Write([]byte(bad)) // the other side may have hung up
				_, _ = them.Write(make([]byte, 64<<10))
			}()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			got, err := io.ReadAll(Requests(us, limits))
			runtime.ReadMemStats(&after)
			if !errors.Is(err, ErrRefused) || len(got) > 0 {
				t.Errorf("%d bytes let through, %v", len(got), err)
			}
			if grown := after.TotalAlloc - before.TotalAlloc; grown > 8<<20 {
				t.Errorf("%d bytes allocated", grown)
			}
		})
	}
}

func TestBadRepliesAreRefused(t *testing.T) {
	for name, bad := range map[string]string{
		"4 GiB of text":       raw("db ffffffff"),
		"an array":            encode(t, []int{1}),
		"a number":            "\x07",
		"a term of 2^64-1":    encode(t, m{"Term": uint64(1<<64 - 1)}),
		"100 KiB":             encode(t, strings.Repeat("x", 100<<10)),
		"a map of 2^32-1":     raw("df ffffffff"),
		"peers without bound": encode(t, m{"Peers": make([]byte, 5000)}),
	} {
		us, them := net.Pipe()
		go func() { _, _ = them.Write(append([]byte(bad), make([]byte, 64<<10)...)) }()
		if got, err := io.ReadAll(Replies(us)); !errors.Is(err, ErrRefused) || len(got) > 0 {
			t.Errorf("%s: %d bytes let through, %v", name, len(got), err)
		}
		us.Close()
	}
}

// TestAnUnfinishedRequestEnds: Raft waits for the rest of a request, and in its
// main loop for that of a snapshot, without any bound.
func TestAnUnfinishedRequestEnds(t *testing.T) {
	install := "\x02" + encode(t, m{"SnapshotVersion": 1, "Size": 1 << 30, "Configuration": raft.EncodeConfiguration(servers(1))})
	for name, begun := range map[string]string{"in a request": "\x00\x85", "in a snapshot": install + "some of it"} {
		us, them := net.Pipe()
		go func() { _, _ = them.Write([]byte(begun)) }()
		l := limits
		l.Stall = 20 * time.Millisecond
		_, err := io.ReadAll(Requests(us, l))
		var timeout net.Error
		if !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("%s: %v", name, err)
		}
		us.Close()
		them.Close()
	}
}

func FuzzRequests(f *testing.F) {
	for _, bad := range badRequests(f) {
		if len(bad) < 4096 {
			f.Add([]byte(bad))
		}
	}
	f.Add([]byte("\x01" + encode(f, m{"Term": 5, "ID": []byte("n1")})))
	f.Add([]byte("\x00" + encode(f, m{"Entries": []any{m{"Type": 5, "Data": raft.EncodeConfiguration(servers(3))}}})))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := Requests(&bytesConn{Reader: bytes.NewReader(b)}, limits)
		got, _ := io.ReadAll(c) // an error is as good as the end
		if !bytes.HasPrefix(b, got) {
			t.Fatalf("%x came as %x", b, got)
		}
		if len(got) > 0 && int(got[0]) == installSnapshot {
			return // what follows is a snapshot's
		}
		for len(got) > 1 { // let through: then it can be decoded, in bounds
			v, rest := next(got[1:])
			var out any
			if err := msgpack.Unmarshal(v, &out); err != nil && !strings.Contains(err.Error(), "ext") /* an invalid time */ {
				t.Fatalf("%x: %v", v, err)
			}
			got = rest
		}
	})
}

// bytesConn is a connection on which all bytes have been written.
type bytesConn struct {
	net.Conn
	*bytes.Reader
}

func (c *bytesConn) Read(p []byte) (int, error)      { return c.Reader.Read(p) }
func (c *bytesConn) SetReadDeadline(time.Time) error { return nil }

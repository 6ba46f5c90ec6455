package peer

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"quorate/limiter/bucket"
	"quorate/testing/golden"
)

var goldenCheck = bucket.Check{Account: "acme", Model: "meta-llama/Llama-3.3-70B", Requests: 1, Tokens: 70_000, Reserve: true, MinIndex: 300}

var goldenDecision = bucket.Decision{
	Tier: 1, Category: "llm", Hit: -1, DecidedBy: "n2", Index: 42, Reservation: "n2-0123456789abcdef",
	Limits: []bucket.Status{{Scoped: bucket.Scoped{
		Limit: bucket.Limit{Unit: bucket.Tokens, Limit: 600, Burst: 700, Window: time.Minute}, Name: "llm-tokens-1m", Source: bucket.SourceOverride,
	}, Remaining: 3, Reset: time.Second, Next: time.Millisecond}},
}

// readWhole reads one frame as it is on the wire.
func readWhole(t *testing.T, conn net.Conn) []byte {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 13)
	if _, err := io.ReadFull(conn, b); err != nil {
		t.Fatal(err)
	}
	b = append(b, make([]byte, binary.BigEndian.Uint32(b))...)
	if _, err := io.ReadFull(conn, b[13:]); err != nil {
		t.Fatal(err)
	}
	return b
}

// late is ErrBehind with a text of the test's own, which is on the wire.
type late struct{}

func (late) Error() string { return "late" }
func (late) Unwrap() error { return ErrBehind }

// goldenHandler answers with the values above, and notes what it is asked.
type goldenHandler struct {
	route bucket.Route
	check bucket.Check
}

func (h *goldenHandler) Check(_ context.Context, route bucket.Route, q *bucket.Check, d *bucket.Decision, _ bool) error {
	h.route, h.check = route, *q
	switch q.Account {
	case "elsewhere":
		return &NotOwnerError{Epoch: 1 << 40}
	case "behind":
		return late{}
	case "refuse":
		return errors.New("no")
	}
	*d = goldenDecision
	return nil
}

func (*goldenHandler) Call(_ context.Context, method byte, arg []byte) ([]byte, error) {
	if method == 9 {
		return nil, errors.New("unknown method 9")
	}
	return append([]byte{method}, arg...), nil
}

// TestFramesStay: the bytes of requests and answers are those of earlier versions.
func TestFramesStay(t *testing.T) {
	f := golden.Open(t, "testdata/frames.txt")
	// Each case has a connection of its own, so that each request has number 1.
	client := func(name string, ask func(c *Client) error) error {
		t.Helper()
		ours, theirs := net.Pipe()
		c := NewClient(func(context.Context) (net.Conn, error) { return ours, nil })
		defer c.Close()
		done := make(chan error, 1)
		go func() { done <- ask(c) }()
		f.Compare(name, readWhole(t, theirs))
		if _, err := theirs.Write(f.Bytes(name + "/answer")); err != nil {
			t.Fatal(err)
		}
		return <-done
	}
	server := func(name string, h Handler) {
		t.Helper()
		ours, theirs := net.Pipe()
		s := NewServer(h)
		done := make(chan struct{})
		go func() { defer close(done); s.Serve(theirs) }()
		if _, err := ours.Write(f.Compare(name, f.Bytes(name))); err != nil {
			t.Fatal(err)
		}
		f.Compare(name+"/answer", readWhole(t, ours))
		s.Close()
		<-done
	}
	for name, c := range map[string]struct {
		ask    bucket.Route
		change func(q *bucket.Check)
		check  func(d *bucket.Decision, err error) bool
	}{
		"check/owner": {bucket.Route{Role: 0, Epoch: 7}, func(*bucket.Check) {}, func(d *bucket.Decision, err error) bool { return err == nil && reflect.DeepEqual(*d, goldenDecision) }},
		"check/fallback": {bucket.Route{Role: 1, Epoch: 1 << 40}, func(q *bucket.Check) { q.Account = "elsewhere" }, func(_ *bucket.Decision, err error) bool {
			var not *NotOwnerError
			return errors.As(err, &not) && not.Epoch == 1<<40
		}},
		"check/relay": {bucket.Route{Role: 2}, func(q *bucket.Check) { q.Account = "behind" }, func(_ *bucket.Decision, err error) bool { return errors.Is(err, ErrBehind) }},
		"check/no": {bucket.Route{}, func(q *bucket.Check) { q.Account = "refuse" }, func(_ *bucket.Decision, err error) bool {
			return errors.Is(err, ErrRefused) && strings.HasSuffix(err.Error(), ": no")
		}},
	} {
		q := goldenCheck
		c.change(&q)
		h := &goldenHandler{}
		server(name, h)
		if h.route != c.ask || h.check != q {
			t.Errorf("%s: asked %+v %+v", name, h.route, h.check)
		}
		var d bucket.Decision
		if err := client(name, func(cl *Client) error { return cl.Check(t.Context(), c.ask, &q, &d) }); !c.check(&d, err) {
			t.Errorf("%s: answered %+v, %v", name, d, err)
		}
	}
	for name, method := range map[string]byte{"call": 4, "call/refused": 9} {
		server(name, &goldenHandler{})
		var answer []byte
		err := client(name, func(c *Client) (err error) {
			answer, err = c.Call(t.Context(), method, []byte("argument"))
			return err
		})
		if method == 9 && (!errors.Is(err, ErrRefused) || !strings.HasSuffix(err.Error(), ": unknown method 9")) || method != 9 && (err != nil || string(answer) != "\x04argument") {
			t.Errorf("%s: %q, %v", name, answer, err)
		}
	}
}

// TestHellosStay: the first bytes of a connection are those of earlier versions.
func TestHellosStay(t *testing.T) {
	f := golden.Open(t, "testdata/hellos.txt")
	for name, c := range map[string]struct {
		magic  string
		h      Hello
		refuse error
	}{
		"peer":         {MagicPeer, Hello{Cluster: "0123456789abcdef0123456789abcdef", From: "n1"}, nil},
		"raft":         {MagicRaft, Hello{Cluster: "c1", From: "n1"}, nil},
		"peer/refused": {MagicPeer, Hello{From: "n1"}, errors.New("not from here")},
	} {
		w := &wire{in: bytes.NewReader(f.Bytes(name + "/answer"))}
		if _, err := Greet(t.Context(), w, c.magic, c.h); (err == nil) != (c.refuse == nil) || err != nil && !strings.HasSuffix(err.Error(), ": not from here") {
			t.Errorf("%s: %v", name, err)
		}
		w = &wire{in: bytes.NewReader(f.Compare(name, w.out.Bytes()))}
		conn, err := Welcome(w, func(_ string, h Hello) error {
			if h.Oldest != 4 || h.Newest != 4 || h.Cluster != c.h.Cluster || h.From != c.h.From {
				t.Errorf("%s is read as %+v", name, h)
			}
			return c.refuse
		})
		if (err == nil) != (c.refuse == nil) || err == nil && (conn.Magic != c.magic || conn.Version != 4) {
			t.Errorf("%s: %+v, %v", name, conn, err)
		}
		f.Compare(name+"/answer", w.out.Bytes())
	}
}

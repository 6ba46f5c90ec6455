package peer

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"quorate/limiter/bucket"
	"quorate/limiter/codec"
)

// wire is a connection on which all that is to be read has been written.
type wire struct {
	net.Conn
	in  *bytes.Reader
	out bytes.Buffer
}

func (w *wire) Read(p []byte) (int, error)       { return w.in.Read(p) }
func (w *wire) Write(p []byte) (int, error)      { return w.out.Write(p) }
func (w *wire) Close() error                     { return nil }
func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

func frame(k kind, payload []byte) []byte {
	b := append(appendHeader(nil, k, 7), payload...)
	setLength(b, 0)
	return b
}

func checkFrame(f *testing.F) []byte {
	payload, err := codec.Append(appendRoute(nil, bucket.Route{Role: 1, Epoch: 5}), &bucket.Check{Account: "acme", Category: "llm", Requests: 1})
	if err != nil {
		f.Fatal(err)
	}
	return frame(kindCheck, payload)
}

func FuzzFrames(f *testing.F) {
	check := checkFrame(f)
	f.Add(check)
	f.Add(append(frame(kindCall, []byte("\x01argument")), check...))
	f.Add(frame(kindCall, nil))
	f.Add(frame(kindFailed, []byte{codeNotOwner, 0, 0, 0, 0, 0, 0, 0, 9}))
	f.Add(frame(kindDone, []byte("x")))
	f.Add([]byte("\xff\xff\xff\xff\x01\x00\x00\x00\x00\x00\x00\x00\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := NewServer(echo{})
		w := &wire{in: bytes.NewReader(b)}
		s.Serve(w)
		s.Close()
		// The same on the other side: answers without a request, and with one.
		c := &clientConn{conn: w, out: newOutbox(w), calls: map[uint64]*call{7: {done: make(chan error, 1)}}}
		in := bufio.NewReader(bytes.NewReader(b))
		for {
			k, id, payload, err := readFrame(in, nil)
			if err != nil {
				break
			}
			c.finish(k, id, payload)
		}
		c.failAll()
	})
}

func FuzzHello(f *testing.F) {
	w := &wire{in: bytes.NewReader([]byte{0, 0})}
	if _, err := Greet(context.Background(), w, MagicRaft, Hello{Cluster: "c1", From: "n1"}); err != nil {
		f.Fatal(err)
	}
	f.Add(w.out.Bytes(), []byte("\x00\x00"))
	f.Add([]byte(MagicPeer+"\xff\xff"), []byte("\x00\x05sorry"))
	f.Add([]byte(MagicPeer+"\x00\x05\x94\x01\x02\xdb\xff"), []byte("\xff\xff"))
	f.Fuzz(func(t *testing.T, hello, answer []byte) {
		conn, err := Welcome(&wire{in: bytes.NewReader(hello)}, func(_ string, h Hello) error {
			if len(h.Cluster) > maxID || len(h.From) > maxID {
				t.Errorf("%+v", h)
			}
			return nil
		})
		if (err == nil) != (conn != nil && (conn.Magic == MagicPeer || conn.Magic == MagicRaft)) {
			t.Errorf("%+v %v", conn, err)
		}
		_, _ = Greet(context.Background(), &wire{in: bytes.NewReader(answer)}, MagicPeer, Hello{From: "n1"}) // refused or not
	})
}

func TestHello(t *testing.T) {
	meet := func(h Hello, check func(Hello) error) (theirs, ours error) {
		us, them := net.Pipe()
		defer us.Close()
		defer them.Close() // not before both are through: on a pipe that fails the other's
		done := make(chan error, 1)
		go func() {
			conn, err := Welcome(them, func(_ string, h Hello) error { return check(h) })
			if err == nil && conn.Magic != MagicRaft {
				err = errors.New("magic " + conn.Magic)
			}
			done <- err
		}()
		_, err := Greet(t.Context(), us, MagicRaft, h)
		return <-done, err
	}
	var got Hello
	theirs, ours := meet(Hello{Cluster: "c1", From: "n1"}, func(h Hello) error { got = h; return nil })
	if theirs != nil || ours != nil || got != (Hello{OldestVersion, NewestVersion, "c1", "n1"}) {
		t.Errorf("%+v %v %v", got, theirs, ours)
	}
	theirs, ours = meet(Hello{From: "n1"}, func(Hello) error { return errors.New("you are not from here") })
	for _, err := range []error{theirs, ours} {
		if !errors.Is(err, ErrUnwelcome) || !strings.Contains(err.Error(), "not from here") {
			t.Errorf("%v", err)
		}
	}
	for name, h := range map[string]Hello{
		"a later program": {Oldest: NewestVersion + 1, Newest: NewestVersion + 2, From: "n2"},
		"an older one":    {Oldest: 1, Newest: OldestVersion - 1, From: "n2"},
	} {
		if _, err := h.common(spoken); err == nil || !strings.Contains(err.Error(), "n2 speaks versions") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, h := range []Hello{{Oldest: 1, Newest: 99}, {Oldest: OldestVersion, Newest: 99}, {Oldest: 1, Newest: NewestVersion}} {
		if v, err := h.common(spoken); err != nil || v != NewestVersion {
			t.Error(v, err)
		}
	}
}

// TestALaterHelloIsUnderstood: what a later version adds is passed over.
func TestALaterHelloIsUnderstood(t *testing.T) {
	for _, c := range []struct {
		fields []any
		want   Hello
	}{
		{[]any{4, 9, "c1", "n9", "news"}, Hello{4, 9, "c1", "n9"}},
		{[]any{4, 9, "c1", "n9", "news", 12}, Hello{4, 9, "c1", "n9"}},
		{[]any{4, 9, "c1"}, Hello{}},
		{make([]any, maxFields+1), Hello{}},
	} {
		b, err := msgpack.Marshal(c.fields)
		if err != nil {
			t.Fatal(err)
		}
		var h Hello
		if err := codec.Unmarshal(b, &h); (err == nil) != (c.want != Hello{}) || err == nil && h != c.want {
			t.Errorf("%v is read as %+v, %v", c.fields, h, err)
		}
	}
}

// TestTheNewestCommonVersionIsSpoken: in a rolling upgrade both sides must know
// which version the other speaks.
func TestTheNewestCommonVersionIsSpoken(t *testing.T) {
	for _, c := range []struct {
		dials, accepts versions
		want           uint64 // 0: none
		answer         string
	}{
		{versions{4, 4}, versions{4, 4}, 4, "\x00\x00"},
		{versions{4, 5}, versions{4, 4}, 4, "\x00\x00"},
		{versions{4, 4}, versions{4, 5}, 4, "\x00\x00"},
		{versions{4, 5}, versions{4, 6}, 5, "\x00\x02\x00\x05"},
		{versions{4, 300}, versions{5, 400}, 300, "\x00\x03\x00\xac\x02"},
		{versions{5, 6}, versions{4, 4}, 0, ""},
		{versions{4, 4}, versions{5, 6}, 0, ""},
	} {
		dialled := &wire{in: bytes.NewReader(nil)}
		_, _ = greet(t.Context(), dialled, MagicPeer, Hello{From: "n1"}, c.dials) // there is no answer yet
		accepted := &wire{in: bytes.NewReader(dialled.out.Bytes())}
		_, theirs, err := welcome(accepted, func(string, Hello) error { return nil }, c.accepts)
		if theirs != c.want || (err == nil) != (c.want != 0) || c.want != 0 && accepted.out.String() != c.answer {
			t.Errorf("%v accepts %v: version %d, %v, answer %q", c.accepts, c.dials, theirs, err, accepted.out.String())
		}
		ours, err := greet(t.Context(), &wire{in: bytes.NewReader(accepted.out.Bytes())}, MagicPeer, Hello{From: "n1"}, c.dials)
		if ours != c.want || (err == nil) != (c.want != 0) {
			t.Errorf("%v dials %v: version %d, %v", c.dials, c.accepts, ours, err)
		}
	}
	for _, answer := range []string{"\x00\x01\x00", "\x00\x02\x00\x09", "\x00\x02\x00\x03", "\x00\x02\x00\xff"} {
		if v, err := greet(t.Context(), &wire{in: bytes.NewReader([]byte(answer))}, MagicPeer, Hello{}, versions{4, 6}); err == nil {
			t.Errorf("the answer %q is version %d", answer, v)
		}
	}
}

// TestAnOldConnectionCarriesNoNewRequest: its other side would end it.
func TestAnOldConnectionCarriesNoNewRequest(t *testing.T) {
	us, them := net.Pipe()
	c := NewClient(func(context.Context) (net.Conn, error) { return &Conn{us, MagicPeer, 3}, nil })
	defer c.Close()
	if _, err := c.Call(t.Context(), 1, nil); !errors.Is(err, ErrNotSent) || !strings.Contains(err.Error(), "version 3") {
		t.Errorf("a request of version 4 on a connection of version 3: %v", err)
	}
	s := NewServer(&goldenHandler{})
	defer s.Close()
	served := make(chan struct{})
	ours, theirs := net.Pipe()
	go func() { defer close(served); s.Serve(&Conn{theirs, MagicPeer, 3}) }()
	if _, err := ours.Write(frame(kindCall, []byte("\x01argument"))); err != nil {
		t.Fatal(err)
	}
	<-served
	_ = them.Close()
}

// TestAClaimedLengthCostsNothing: memory grows with what has come.
func TestAClaimedLengthCostsNothing(t *testing.T) {
	claim := []byte{0, 0x20, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 'x'} // 2 MiB
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 100 {
		if _, _, _, err := readFrame(bufio.NewReaderSize(bytes.NewReader(claim), 16), nil); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / 100; each > 256<<10 {
		t.Errorf("%d bytes each", each)
	}
}

package logs

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestLimiter(t *testing.T) {
	for burst, want := range [][]bool{
		1: {true, false, false, true, true},
		2: {true, true, false, true, true},
	} {
		if want == nil {
			continue
		}
		l := Limiter{Burst: burst}
		now := time.Unix(0, 0)
		var suppressed uint64
		for i, after := range []time.Duration{0, 0, limiterSpan - 1, 1, limiterSpan} {
			now = now.Add(after)
			n, ok := l.Allow(now)
			if ok != want[i] || n != suppressed && ok {
				t.Errorf("burst %d, step %d: %d, %v", burst, i, n, ok)
			}
			if suppressed++; ok {
				suppressed = 0
			}
		}
		if l.Total() != 5 {
			t.Errorf("burst %d: %d events in total", burst, l.Total())
		}
	}
	if _, ok := new(Limiter).Allow(time.Time{}.Add(1)); !ok {
		t.Error("the zero Limiter allows nothing")
	}
}

// TestGossipLinesAreLimited: warnings and errors are limited, other lines are not, and
// no line forges another.
func TestGossipLinesAreLimited(t *testing.T) {
	var out bytes.Buffer
	w := Gossip(slog.New(slog.NewTextHandler(&out, nil))).Writer()
	for range 1000 {
		if _, err := w.Write([]byte("[ERR] memberlist: failed to receive: x\nlevel=ERROR msg=forged from=1.2.3.4:5\n")); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(out.String(), "\n"); n != gossipBurst {
		t.Errorf("%d lines", n)
	}
	if strings.Contains(out.String(), "\nlevel=") {
		t.Errorf("a line was forged: %s", out.String())
	}
	if _, err := w.Write([]byte("[INFO] memberlist: hello\n")); err != nil || !strings.Contains(out.String(), "hello") {
		t.Error("other lines are suppressed too")
	}
}

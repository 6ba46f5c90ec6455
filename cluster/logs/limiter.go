package logs

import (
	"sync"
	"sync/atomic"
	"time"
)

// limiterSpan is the span of time that a Limiter counts lines in.
const limiterSpan = 10 * time.Second

// Limiter limits how often a line is logged, so that an event that other hosts can
// cause at will does not fill the log. The zero Limiter allows one line in 10 s. Its
// methods may be called concurrently.
type Limiter struct {
	Burst int // lines allowed in 10 s; 0: one

	total atomic.Uint64 // events so far, logged or not

	mu         sync.Mutex
	until      time.Time // end of the span; guarded by mu
	allowed    int       // lines in it; guarded by mu
	suppressed uint64    // events since the last line; guarded by mu
}

// Allow counts an event at the instant now and reports whether it may be logged, and
// how many events were suppressed since the last line.
func (l *Limiter) Allow(now time.Time) (suppressed uint64, ok bool) {
	l.total.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !now.Before(l.until) {
		l.until, l.allowed = now.Add(limiterSpan), 0
	}
	if l.allowed >= max(l.Burst, 1) {
		l.suppressed++
		return 0, false
	}
	l.allowed++
	suppressed, l.suppressed = l.suppressed, 0
	return suppressed, true
}

// Total returns the number of events so far, logged or not.
func (l *Limiter) Total() uint64 { return l.total.Load() }

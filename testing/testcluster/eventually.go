package testcluster

import (
	"errors"
	"testing"
	"time"
)

// Every is how often Eventually asks.
const Every = 10 * time.Millisecond

type permanentError struct{ error }

// Permanent marks an error that waiting cannot mend.
func Permanent(err error) error { return permanentError{err} }

// Eventually asks until cond returns nil, and fails the test when it has not
// within the given time or returns a Permanent error.
func Eventually(tb testing.TB, within time.Duration, what string, cond func() error) {
	tb.Helper()
	deadline := time.Now().Add(within)
	tick := time.NewTicker(Every)
	defer tick.Stop()
	for {
		err := cond()
		if err == nil {
			return
		}
		var p permanentError
		if errors.As(err, &p) {
			tb.Fatalf("%s: never: %v", what, err)
		}
		if time.Now().After(deadline) {
			tb.Fatalf("%s: not within %s: %v", what, within, err)
		}
		<-tick.C
	}
}

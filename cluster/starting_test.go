package cluster

import (
	"errors"
	"testing"
)

// TestAnswersBeforeRaftRuns: the port is taken before Raft starts, and nodes that
// still take this one for the leader send it their writes.
func TestAnswersBeforeRaftRuns(t *testing.T) {
	h := handler{&Node{}}
	for method := range byte(32) {
		b, err := h.Call(t.Context(), method, []byte{1})
		if method == methodWrite {
			if _, _, err = decodeReply(b); !notSent(err) {
				t.Errorf("a write came back as %v", err)
			}
			continue
		}
		if !errors.Is(err, errStarting) {
			t.Errorf("method %d: %v", method, err)
		}
	}
}

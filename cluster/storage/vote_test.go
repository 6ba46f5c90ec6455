package storage

import (
	"errors"
	"fmt"
	"testing"

	"github.com/hashicorp/raft"
)

// TestAHalfWrittenVoteIsNone: a node has voted for n2 in term 5, began to vote in term
// 7 and crashed between the two writes. n2 returns with an old log.
func TestAHalfWrittenVoteIsNone(t *testing.T) {
	for _, bare := range []bool{false, true} {
		t.Run(fmt.Sprintf("bare %v", bare), func(t *testing.T) {
			inner := raft.NewInmemStore()
			wrap := func() raft.StableStore {
				if bare {
					return inner
				}
				return NewVoteStore(inner)
			}
			before := wrap()
			for _, err := range []error{
				inner.StoreLog(&raft.Log{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(raft.Configuration{
					Servers: []raft.Server{{ID: "n1", Address: "n1"}, {ID: "n2", Address: "n2"}, {ID: "n3", Address: "n3"}},
				})}),
				inner.StoreLog(&raft.Log{Index: 2, Term: 6}),
				before.SetUint64(keyVoteTerm, 5), before.Set(keyVoteCandidate, []byte("n2")),
				before.SetUint64([]byte("CurrentTerm"), 7),
				before.SetUint64(keyVoteTerm, 7), // and then a power failure
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			n := startRaft(t, raftOptions{id: "n1", store: inner, bare: bare})
			defer n.stop(t)
			got, err := ask[raft.RequestVoteResponse](t, n, &raft.RequestVoteRequest{
				RPCHeader: header("n2"), Term: 7, LastLogIndex: 1, LastLogTerm: 1,
			}, nil)
			if err != nil {
				t.Fatal(err)
			}
			// Raft alone grants it, although the log may lack committed entries.
			if got.Granted != bare {
				t.Errorf("granted: %v", got.Granted)
			}
		})
	}
}

func TestAVoteOutlivesARestart(t *testing.T) {
	inner := raft.NewInmemStore()
	s := NewVoteStore(inner)
	if term, _ := s.GetUint64(keyVoteTerm); term != 0 { // stores differ in the error
		t.Errorf("term %d without a vote", term)
	}
	for _, err := range []error{s.SetUint64(keyVoteTerm, 9), s.Set(keyVoteCandidate, []byte("n3")), s.SetUint64([]byte("CurrentTerm"), 9)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	again := NewVoteStore(inner)
	term, err := again.GetUint64(keyVoteTerm)
	candidate, err2 := again.Get(keyVoteCandidate)
	now, err3 := again.GetUint64([]byte("CurrentTerm"))
	if term != 9 || string(candidate) != "n3" || now != 9 || errors.Join(err, err2, err3) != nil {
		t.Errorf("%d %q %d: %v", term, candidate, now, errors.Join(err, err2, err3))
	}
}

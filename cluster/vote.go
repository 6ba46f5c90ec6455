package cluster

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/hashicorp/raft"
)

// The keys that Raft keeps its term and its vote under, and ours.
var (
	keyCurrentTerm = []byte("CurrentTerm")
	keyVoteTerm    = []byte("LastVoteTerm")
	keyVoteCand    = []byte("LastVoteCand")
	keyVote        = []byte("quorate-vote")
)

// voteStore keeps a vote as one record. Raft writes the term and then the
// candidate: after a crash between the two it would stand by its former
// candidate in the new term, without looking at that one's log
// (hashicorp/raft#661). Raft calls it from one goroutine.
type voteStore struct {
	raft.StableStore
	term uint64 // set, and not yet written: the candidate is to follow
	held bool   // there is such a term
}

// SetUint64 is raft.StableStore.
func (s *voteStore) SetUint64(key []byte, v uint64) error {
	if bytes.Equal(key, keyVoteTerm) {
		s.term, s.held = v, true
		return nil
	}
	return s.StableStore.SetUint64(key, v)
}

// Set is raft.StableStore.
func (s *voteStore) Set(key, v []byte) error {
	if !bytes.Equal(key, keyVoteCand) || !s.held {
		return s.StableStore.Set(key, v)
	}
	record := append(binary.BigEndian.AppendUint64(nil, s.term), v...)
	if err := s.StableStore.Set(keyVote, record); err != nil {
		return err
	}
	s.held = false
	return nil
}

// GetUint64 is raft.StableStore.
func (s *voteStore) GetUint64(key []byte) (uint64, error) {
	if !bytes.Equal(key, keyVoteTerm) {
		return s.StableStore.GetUint64(key)
	}
	term, _, err := s.vote()
	if isMissing(err) {
		return s.StableStore.GetUint64(key) // from before votes were one record
	}
	return term, err
}

// Get is raft.StableStore.
func (s *voteStore) Get(key []byte) ([]byte, error) {
	if !bytes.Equal(key, keyVoteCand) {
		return s.StableStore.Get(key)
	}
	_, candidate, err := s.vote()
	if isMissing(err) {
		return s.StableStore.Get(key)
	}
	return candidate, err
}

// isMissing goes by the text, as Raft does: stores have no sentinel in common.
func isMissing(err error) bool { return err != nil && err.Error() == "not found" }

// vote returns the last vote that was written whole.
func (s *voteStore) vote() (term uint64, candidate []byte, err error) {
	record, err := s.StableStore.Get(keyVote)
	if err != nil {
		return 0, nil, err
	}
	if len(record) < 8 {
		return 0, nil, fmt.Errorf("vote record of %d bytes", len(record))
	}
	return binary.BigEndian.Uint64(record), record[8:], nil
}

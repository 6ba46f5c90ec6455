package storage

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/hashicorp/raft"
)

// The keys of Raft's term and vote, and the key of the combined vote record.
var (
	keyCurrentTerm   = []byte("CurrentTerm")
	keyVoteTerm      = []byte("LastVoteTerm")
	keyVoteCandidate = []byte("LastVoteCand")
	keyVote          = []byte("quorate-vote")
)

// VoteStore stores a vote as one record. Raft writes the term and then the candidate:
// after a crash between the two it would support the previous candidate in the new
// term, without comparing that candidate's log (hashicorp/raft#661). Raft calls it
// from one goroutine.
type VoteStore struct {
	raft.StableStore
	term    uint64 // of a vote whose candidate has not been set yet
	pending bool   // there is such a vote
}

// NewVoteStore returns a VoteStore on a stable store.
func NewVoteStore(s raft.StableStore) *VoteStore { return &VoteStore{StableStore: s} }

// SetUint64 implements raft.StableStore.
func (s *VoteStore) SetUint64(key []byte, v uint64) error {
	if bytes.Equal(key, keyVoteTerm) {
		s.term, s.pending = v, true
		return nil
	}
	return s.StableStore.SetUint64(key, v)
}

// Set implements raft.StableStore.
func (s *VoteStore) Set(key, v []byte) error {
	if !bytes.Equal(key, keyVoteCandidate) || !s.pending {
		return s.StableStore.Set(key, v)
	}
	record := append(binary.BigEndian.AppendUint64(nil, s.term), v...)
	if err := s.StableStore.Set(keyVote, record); err != nil {
		return err
	}
	s.pending = false
	return nil
}

// GetUint64 implements raft.StableStore.
func (s *VoteStore) GetUint64(key []byte) (uint64, error) {
	if !bytes.Equal(key, keyVoteTerm) {
		return s.StableStore.GetUint64(key)
	}
	term, _, err := s.vote()
	if isNotFound(err) {
		return s.StableStore.GetUint64(key) // of a version without vote records
	}
	return term, err
}

// Get implements raft.StableStore.
func (s *VoteStore) Get(key []byte) ([]byte, error) {
	if !bytes.Equal(key, keyVoteCandidate) {
		return s.StableStore.Get(key)
	}
	_, candidate, err := s.vote()
	if isNotFound(err) {
		return s.StableStore.Get(key)
	}
	return candidate, err
}

// isNotFound compares the text, as Raft does: stores share no sentinel.
func isNotFound(err error) bool { return err != nil && err.Error() == "not found" }

// vote returns the last vote that was written completely.
func (s *VoteStore) vote() (term uint64, candidate []byte, err error) {
	record, err := s.StableStore.Get(keyVote)
	if err != nil {
		return 0, nil, err
	}
	if len(record) < 8 {
		return 0, nil, fmt.Errorf("vote record of %d bytes", len(record))
	}
	return binary.BigEndian.Uint64(record), record[8:], nil
}

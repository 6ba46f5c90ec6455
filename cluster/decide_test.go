package cluster

import (
	"errors"
	"fmt"
	"testing"

	"github.com/hashicorp/raft"

	"quorate/cluster/peer"
	"quorate/fsm/ledger"
)

// What a write's error means decides whether money may be sent again.
func TestNotSent(t *testing.T) {
	for err, want := range map[error]bool{
		errNotLeader:                          true,
		peer.ErrNotSent:                       true,
		raft.ErrNotLeader:                     true,
		raft.ErrEnqueueTimeout:                true,
		raft.ErrLeadershipTransferInProgress:  true,
		raft.ErrLeadershipLost:                false,
		raft.ErrRaftShutdown:                  false,
		raft.ErrAbortedByRestore:              false,
		peer.ErrLost:                          false,
		peer.ErrRefused:                       false,
		errors.New("something else entirely"): false,
	} {
		if got := notSent(fmt.Errorf("propose: %w", err)); got != want {
			t.Errorf("notSent(%v) = %v, want %v", err, got, want)
		}
	}
}

func TestForwardedReplyRoundTrip(t *testing.T) {
	in := []ledger.Result{{Replayed: true, Entry: ledger.Entry{Key: "k", Amount: 5_000, Index: 3}, Account: ledger.NewAccount("a")}, {Err: ledger.ErrKeyReused, Account: ledger.NewAccount("b")}}
	b, err := encodeReply(in, 1<<40+7, 3)
	if err != nil {
		t.Fatal(err)
	}
	out, index, err := decodeReply(b)
	if err != nil || index != 1<<40+7 || len(out) != 2 || out[0] != in[0] || !errors.Is(out[1].Err, ledger.ErrKeyReused) {
		t.Fatalf("%v %d %+v", err, index, out)
	}
	if _, _, err := decodeReply([]byte{replyNotSent}); !notSent(err) {
		t.Errorf("not sent came back as %v", err)
	}
	for _, b := range [][]byte{nil, {replyUnknown, 'x'}, {replyDone}, {77}} {
		if _, _, err := decodeReply(b); err == nil || notSent(err) {
			t.Errorf("%v came back as %v", b, err)
		}
	}
}

func TestMetaFitsGossip(t *testing.T) {
	long := string(make([]byte, maxAddr))
	m := meta{ID: string(make([]byte, ledger.MaxNodeID)), Boot: 1 << 62, HTTP: long, Peer: long, Version: string(make([]byte, 64)), Expect: 7, Formed: true, Cluster: string(make([]byte, ledger.MaxNodeID))}
	b, err := m.encode()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := decodeMeta(b); err != nil || got != m {
		t.Fatalf("%v %+v", err, got)
	}
}

// TestMetaOfALaterVersionIsRead: nodes of two versions gossip during an upgrade.
func TestMetaOfALaterVersionIsRead(t *testing.T) {
	m := meta{ID: "n1", Boot: 3, HTTP: "h:1", Peer: "p:1", Version: "v9", Expect: 3}
	b, err := m.encode()
	if err != nil {
		t.Fatal(err)
	}
	b[0]++ // one field more
	if got, err := decodeMeta(append(b, "\x92\xa4news\xc3"...)); err != nil || got != m {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := decodeMeta(append(b, 0xdd, 0xff, 0xff, 0xff, 0xff)); err == nil {
		t.Errorf("an endless field is read: %+v", got)
	}
}

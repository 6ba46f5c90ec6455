package cluster

import (
	"context"
	"fmt"
	"reflect"
	"testing"

	"quorate/fsm/ledger"
	"quorate/testing/golden"
)

// TestMessagesStay: the bytes of what nodes send each other are those of earlier
// versions.
func TestMessagesStay(t *testing.T) {
	f := golden.Open(t, "testdata/messages.txt")
	for name, m := range map[string]meta{
		"meta/zero": {},
		"meta/full": {
			ID: "n1", Boot: 300, HTTP: "10.0.0.1:7900", Peer: "10.0.0.1:7800", Version: "v1.2.3", Expect: 3, Formed: true,
			Cluster: "0123456789abcdef0123456789abcdef",
		},
	} {
		b, err := m.encode()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decodeMeta(f.Compare(name, b)); err != nil || got != m {
			t.Errorf("%s is read as %+v, %v", name, got, err)
		}
	}
	sent := proposal{cluster: "0123456789abcdef0123456789abcdef", ids: []string{"n1", "n2", "n3"}}
	b, err := sent.encode()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := decodeBootstrap(f.Compare("founding", b)); err != nil || !reflect.DeepEqual(got, sent) {
		t.Errorf("founding is read as %+v, %v", got, err)
	}

	results := []ledger.Result{{Err: ledger.ErrUpgrade}, {Entry: ledger.Entry{Key: "k", Amount: 7_000, Index: 9}, Account: ledger.NewAccount("acme")}}
	if b, err = encodeReply(results, 1<<40+300, 3); err != nil {
		t.Fatal(err)
	}
	if got, index, err := decodeReply(f.Compare("write/done", b)); err != nil || index != 1<<40+300 || !reflect.DeepEqual(got, results) {
		t.Errorf("the reply is read as %+v, %d, %v", got, index, err)
	}
	f.Compare("write/codes", []byte{replyDone, replyNotSent, replyUnknown})
	if _, _, err := decodeReply([]byte{1}); !notSent(err) {
		t.Errorf("a reply that nothing was sent is read as %v", err)
	}
	if _, _, err := decodeReply([]byte("\x02text")); err == nil || notSent(err) {
		t.Errorf("a reply that the outcome is not known is read as %v", err)
	}
	f.Compare("admit/codes", []byte{joinUnsure, joinFree, joinKnown, joinRemoved})
	f.Compare("methods", []byte{
		methodPing, methodWrite, methodReadIndex, methodSettle, methodMap, methodExchange, methodRemove, methodBootstrap, methodJoin, methodTransfer, methodTerm,
	})
	f.Compare("methods/start", []byte{methodStart, methodProcess})
	order, err := ledger.EncodeOps([]ledger.Op{Removal{ID: "n4", By: "ops"}.op()})
	if err != nil {
		t.Fatal(err)
	}
	f.Compare("remove", order)
}

// TestAnswersKeepTheirCodes: the position of an error in these lists is its code on
// the wire.
func TestAnswersKeepTheirCodes(t *testing.T) {
	for o, codes := range map[order][]error{
		removal:  {nil, ErrUnknownNode, ErrLastVoter, ErrQuorumLoss, errNotLeader, ErrUnderWay, ledger.ErrUpgrade, ledger.ErrNoQuorum},
		transfer: {nil, ErrUnknownNode, ErrLastVoter, ErrUnfit, errNotLeader},
	} {
		for code, want := range codes {
			err := want
			if err != nil {
				err = fmt.Errorf("wrapped: %w", want)
			}
			if got, ok := o.encode(err); !ok || got != byte(code) {
				t.Errorf("order %d: %v has code %d, %v; want %d", o, want, got, ok, code)
			}
			if got, ok := o.decode(byte(code)); !ok || got != want {
				t.Errorf("order %d: code %d is %v, %v; want %v", o, code, got, ok, want)
			}
		}
		if err, ok := o.decode(byte(len(codes))); ok {
			t.Errorf("order %d: code %d is %v", o, len(codes), err)
		}
		if code, ok := o.encode(context.Canceled); ok {
			t.Errorf("order %d: an unknown error has code %d", o, code)
		}
	}
}

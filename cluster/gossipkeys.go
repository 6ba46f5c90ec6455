package cluster

import (
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/memberlist"
)

// keyring returns memberlist's keyring, nil without keys.
func keyring(keys [][]byte) (*memberlist.Keyring, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	ring, err := memberlist.NewKeyring(keys, keys[0])
	if err != nil {
		return nil, fmt.Errorf("gossip key: %w", err)
	}
	return ring, nil
}

// SetGossipKeys replaces the keys of gossip: the first encrypts, all decrypt. Gossip
// that was started without keys cannot be given any, nor can all be removed.
func (n *Node) SetGossipKeys(keys [][]byte) error {
	if n.gossip.keys == nil || len(keys) == 0 {
		return errors.New("gossip keys: whether there are any cannot change while the node runs")
	}
	return replaceKeys(n.gossip.keys, keys)
}

func replaceKeys(ring *memberlist.Keyring, keys [][]byte) error {
	for _, k := range keys {
		if err := ring.AddKey(k); err != nil {
			return fmt.Errorf("gossip key: %w", err)
		}
	}
	// RemoveKey shifts later keys under unlocked readers, so first move the keys that stay
	// to the front, then remove from the end.
	for _, k := range slices.Backward(keys) {
		if err := ring.UseKey(k); err != nil {
			return fmt.Errorf("gossip key: %w", err)
		}
	}
	for all := ring.GetKeys(); len(all) > len(keys); all = all[:len(all)-1] {
		if err := ring.RemoveKey(all[len(all)-1]); err != nil {
			return fmt.Errorf("gossip key: %w", err)
		}
	}
	return nil
}

package backend

import (
	"errors"
	"fmt"
	"slices"

	"quorate/testing/testcluster"
)

// Directed is Network.
func (b *Namespaces) Directed() bool { return true }

// Cut is Network: the receiver drops.
func (b *Namespaces) Cut(from, to *testcluster.Node) error { return b.home(to).drop(b.home(from)) }

// Isolate is Network.
func (b *Namespaces) Isolate(n *testcluster.Node) (err error) {
	m := b.home(n)
	for _, other := range b.all() {
		if other != m {
			err = errors.Join(err, m.drop(other), other.drop(m))
		}
	}
	return err
}

// Lose is Network. Clients' packets are not lost.
func (b *Namespaces) Lose(to *testcluster.Node, percent int) (err error) {
	m := b.home(to)
	for _, other := range b.all() {
		if other != m {
			err = errors.Join(err, m.drop(other, "numgen", "random", "mod", "100", "<", fmt.Sprint(percent)))
		}
	}
	return err
}

// drop has what comes from another machine be dropped, where it matches.
func (m *machine) drop(from *machine, match ...string) error {
	rule := slices.Concat([]string{"ip", "netns", "exec", m.space, "nft", "add", "rule", "inet", "chaos", "in", "ip", "saddr", from.host}, match, []string{"drop"})
	return run(rule...)
}

// Mend is Network.
func (b *Namespaces) Mend() (err error) {
	for _, m := range b.all() {
		err = errors.Join(err, run("ip", "netns", "exec", m.space, "nft", "flush", "chain", "inet", "chaos", "in"))
	}
	return err
}

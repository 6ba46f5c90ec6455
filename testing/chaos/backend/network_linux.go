package backend

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"quorate/testing/testcluster"
)

// Directed is Network.
func (b *Namespaces) Directed() bool { return true }

// Cut is Network: the receiver drops the packets.
func (b *Namespaces) Cut(from, to *testcluster.Node) error {
	b.links.RLock()
	defer b.links.RUnlock()
	return b.home(to).drop([]*machine{b.home(from)})
}

// Isolate is Network.
func (b *Namespaces) Isolate(n *testcluster.Node) error {
	b.links.RLock()
	defer b.links.RUnlock()
	m, others := b.home(n), b.but(b.home(n))
	return atOnce(append(others, m), func(at *machine) error {
		if at == m {
			return at.drop(others)
		}
		return at.drop([]*machine{m})
	})
}

// Lose is Network. Clients' packets are not lost.
func (b *Namespaces) Lose(to *testcluster.Node, percent int) error {
	b.links.RLock()
	defer b.links.RUnlock()
	m := b.home(to)
	return m.drop(b.but(m), "numgen", "random", "mod", "100", "<", fmt.Sprint(percent))
}

// Mend is Network.
func (b *Namespaces) Mend() error {
	b.links.RLock()
	defer b.links.RUnlock()
	err := atOnce(b.all(), func(m *machine) error {
		return run("nsenter", m.net(), "nft", "flush", "chain", "inet", "chaos", "in")
	})
	return errors.Join(err, b.undelay())
}

// but returns the existing machines without one.
func (b *Namespaces) but(m *machine) []*machine {
	return slices.DeleteFunc(b.all(), func(o *machine) bool { return o == m })
}

// drop drops the packets from other machines that match.
func (m *machine) drop(from []*machine, match ...string) error {
	var hosts []string
	for _, f := range from {
		hosts = append(hosts, f.host)
	}
	rule := []string{"nsenter", m.net(), "nft", "add", "rule", "inet", "chaos", "in", "ip", "saddr", "{" + strings.Join(hosts, ",") + "}"}
	return run(slices.Concat(rule, match, []string{"drop"})...)
}

// atOnce runs a command for each machine concurrently, so that a fault affects all links
// at nearly the same time.
func atOnce(all []*machine, do func(*machine) error) error {
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, m := range all {
		wg.Go(func() { errs[i] = do(m) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

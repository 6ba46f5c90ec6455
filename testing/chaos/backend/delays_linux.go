package backend

import (
	"errors"
	"net/netip"

	"quorate/testing/faultnet"
)

// CanDelay is Delays.
func (b *Namespaces) CanDelay() error { return b.canDelay() }

// Delay is Delays. It does not affect nodes that are added later.
func (b *Namespaces) Delay(cfg faultnet.Config) (func() faultnet.Counts, error) {
	var places []faultnet.Place
	for _, m := range b.all() {
		p, err := m.late()
		if err != nil {
			return nil, err
		}
		places = append(places, p)
	}
	b.homesMu.Lock()
	defer b.homesMu.Unlock()
	if b.late != nil {
		return nil, errors.New("packets are delayed already")
	}
	late, err := faultnet.Open(places, cfg)
	if err != nil {
		return nil, err
	}
	b.late = late
	return late.Counts, nil
}

func (b *Namespaces) undelay() error {
	b.homesMu.Lock()
	late := b.late
	b.late = nil
	b.homesMu.Unlock()
	if late == nil {
		return nil
	}
	return late.Close()
}

// late returns a machine as faultnet describes it.
func (m *machine) late() (faultnet.Place, error) {
	a, err := netip.ParseAddr(m.host)
	return faultnet.Place{Space: m.space, Address: a}, err
}

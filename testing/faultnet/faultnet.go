// Package faultnet has the packets between network namespaces be late, lost,
// doubled or out of order, where the kernel cannot. While a Net is open, host
// routes lead what nodes send each other into a TUN device in each namespace; this
// process reads it there, has each packet wait in one heap, and writes it into the
// device of the namespace that it is for. All else keeps its way.
package faultnet

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// ErrCannot is why packets cannot be had here.
var ErrCannot = errors.New("packets cannot be delayed here")

// Place is a network namespace, as `ip netns` names it, and the IPv4 address in
// it that packets are from and for.
type Place struct {
	Space   string
	Address netip.Addr
}

// Config says what becomes of the packets.
type Config struct {
	// Each packet waits between Low and High, all times as likely.
	Low, High time.Duration
	// InOrder has no packet overtake an earlier one of its link, one direction
	// between two places. Those that would wait for it.
	InOrder bool
	// Loss and Twice are how likely a packet is lost, or comes a second time, 0 to 1.
	Loss, Twice float64
	// Queue is how many packets may wait in all. More are dropped.
	Queue int
	// Seed is of all that is drawn: the nth packet of a link meets the same fate
	// again, whatever other links carry.
	Seed uint64
}

// DefaultConfig passes everything on at once. It has room for 30,000 packets a
// second that wait for half a second.
func DefaultConfig() Config { return Config{Queue: 1 << 14} }

// Validate says what makes no sense.
func (c Config) Validate() error {
	switch {
	case c.Low < 0 || c.High < c.Low:
		return fmt.Errorf("wait between %s and %s: want 0 <= low <= high", c.Low, c.High)
	case !(c.Loss >= 0 && c.Loss <= 1) || !(c.Twice >= 0 && c.Twice <= 1):
		return fmt.Errorf("loss %v, twice %v: want 0 to 1", c.Loss, c.Twice)
	case c.Queue < 1:
		return fmt.Errorf("queue of %d packets: want 1 or more", c.Queue)
	}
	return nil
}

// Counts are of packets since Open.
type Counts struct {
	Read    int // that came out of a namespace for another
	Lost    int // by chance
	Doubled int // by chance
	Full    int // dropped, because too many waited
	Written int // that went into a namespace
	Refused int // that the kernel did not take there
	Strange int // for no place, such as multicast; dropped
}

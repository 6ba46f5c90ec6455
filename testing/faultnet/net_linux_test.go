package faultnet

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"quorate/testing/testcluster"
)

func TestPacketsAreLateAndConnectionsStand(t *testing.T) {
	places, _ := spaces(t)
	a, b := socket(t, places[0]), socket(t, places[1])
	tcp := stand(t, places[0], places[1])
	echo(t, tcp, 1)
	const low = 60 * time.Millisecond
	for _, inOrder := range []bool{true, false, true} {
		n, done := open(t, places, func(c *Config) { c.Low, c.High, c.InOrder = low, 2*low, inOrder })
		start := time.Now()
		send(t, a, places[1], 1)
		receive(t, b, 1)
		send(t, b, places[0], 2)
		receive(t, a, 1)
		if took := time.Since(start); took < 2*low {
			t.Errorf("a datagram and its answer took %s, want %s or more", took, 2*low)
		}
		if took := echo(t, tcp, 100_000); took < 2*low {
			t.Errorf("a standing connection's round took %s, want %s or more", took, 2*low)
		}
		if took := echo(t, stand(t, places[1], places[0]), 1); took < 2*low {
			t.Errorf("a new connection's round took %s, want %s or more", took, 2*low)
		}
		done()
		seen := n.Counts().Read
		echo(t, tcp, 100_000)
		if c := n.Counts(); c.Read != seen || c.Written != c.Read || c.Refused+c.Full+c.Lost > 0 {
			t.Errorf("counts %+v after Close, %d read before it", c, seen)
		}
	}
	for _, p := range places {
		if left := command(t, "ip -n "+p.Space+" addr") + command(t, "ip -n "+p.Space+" route"); strings.Contains(left, tunName) {
			t.Errorf("left behind in %s: %s", p.Space, left)
		}
	}
}

func TestAllAreLostButForClients(t *testing.T) {
	places, client := spaces(t)
	a, b := socket(t, places[0]), socket(t, places[1])
	tcp := stand(t, places[0], places[1])
	n, done := open(t, places, func(c *Config) { c.Loss = 1 })
	send(t, a, places[1], bytes.Repeat([]byte{1}, 20)...)
	testcluster.Eventually(t, patience, "all are lost", func() error {
		if c := n.Counts(); c.Lost != 20 {
			return fmt.Errorf("counts %+v", c)
		}
		return nil
	})
	c := socket(t, Place{client, netip.MustParseAddr("10.214.0.3")})
	send(t, c, places[1], 2)
	if got := receive(t, b, 1); got[0] != 2 {
		t.Errorf("received %v, want what the client sent alone", got)
	}
	done()
	send(t, a, places[1], 3)
	if got := receive(t, b, 1); got[0] != 3 {
		t.Errorf("received %v, want what was sent after Close alone", got)
	}
	echo(t, tcp, 1)
}

func TestAllComeTwice(t *testing.T) {
	places, _ := spaces(t)
	a, b := socket(t, places[0]), socket(t, places[1])
	tcp := stand(t, places[0], places[1])
	_, done := open(t, places, func(c *Config) { c.Twice = 1 })
	send(t, a, places[1], 1, 2, 3, 4, 5)
	if got := receive(t, b, 10); !bytes.Equal(got, []byte{1, 1, 2, 2, 3, 3, 4, 4, 5, 5}) {
		t.Errorf("received %v, want each twice", got)
	}
	echo(t, tcp, 100_000)
	done()
	send(t, a, places[1], 6, 7)
	if got := receive(t, b, 2); !bytes.Equal(got, []byte{6, 7}) {
		t.Errorf("received %v after Close, want 6 7", got)
	}
}

func TestOrderIsLostOrKept(t *testing.T) {
	places, _ := spaces(t)
	a, b := socket(t, places[0]), socket(t, places[1])
	all := make([]byte, 50)
	for i := range all {
		all[i] = byte(i)
	}
	for _, inOrder := range []bool{false, true} {
		_, done := open(t, places, func(c *Config) { c.High, c.InOrder = 200*time.Millisecond, inOrder })
		send(t, a, places[1], all...)
		got := receive(t, b, len(all))
		if slices.IsSorted(got) != inOrder {
			t.Errorf("received %v, in order: %v", got, inOrder)
		}
		slices.Sort(got)
		if !bytes.Equal(got, all) {
			t.Errorf("received %v, want all of them", got)
		}
		done()
	}
}

func TestWhatWaitsIsBoundedAndPassedOnAtTheEnd(t *testing.T) {
	places, _ := spaces(t)
	a, b := socket(t, places[0]), socket(t, places[1])
	n, done := open(t, places, func(c *Config) { c.Low, c.High, c.InOrder, c.Queue = time.Hour, time.Hour, true, 3 })
	send(t, a, places[1], 1, 2, 3, 4, 5)
	testcluster.Eventually(t, patience, "two find no room", func() error {
		if c := n.Counts(); c.Full != 2 {
			return fmt.Errorf("counts %+v", c)
		}
		return nil
	})
	done()
	send(t, a, places[1], 6)
	if got := receive(t, b, 4); !bytes.Equal(got, []byte{1, 2, 3, 6}) {
		t.Errorf("received %v, want 1 2 3 6", got)
	}
}

func TestWhyItCannotBe(t *testing.T) {
	places, _ := spaces(t)
	_, done := open(t, places, func(*Config) {})
	if err := Probe(places[0]); !errors.Is(err, ErrCannot) {
		t.Errorf("a second device: err %v, want that it cannot be", err)
	}
	done()
	for _, test := range []struct {
		name   string
		places []Place
		want   string
	}{
		{"no such namespace", append(places[:1:1], Place{"qfnnone", places[1].Address}), "qfnnone"},
		{"an address of somebody else", append(places[:1:1], Place{places[1].Space, places[0].Address.Next().Next()}), "no device has the address"},
		{"one address twice", append(places[:1:1], places[0]), "an IPv4 address of its own"},
	} {
		if _, err := Open(test.places, DefaultConfig()); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: err %v, want %q", test.name, err, test.want)
		}
	}
	// A route that is there already could not be put back.
	command(t, "ip -n "+places[1].Space+" route add 10.214.0.1/32 dev eth0")
	if _, err := Open(places, DefaultConfig()); !errors.Is(err, ErrCannot) {
		t.Errorf("a route that is there: err %v, want that it cannot be", err)
	}
	if err := Probe(places[0]); err != nil {
		t.Errorf("something was left behind: %v", err)
	}
	if routes := command(t, "ip -n "+places[0].Space+" route"); strings.Contains(routes, tunName) {
		t.Errorf("left behind: %s", routes)
	}
}

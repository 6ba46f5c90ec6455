package faultnet

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"
)

// lastWords is for how long packets are still read whose sender did not know yet
// that the routes are gone.
const lastWords = 20 * time.Millisecond

// Net carries the packets between places, from Open to Close.
//
// A goroutine for each device reads, until Close sets the file a deadline. One
// writes what is due into all of them, until the readers have ended and nothing
// waits.
type Net struct {
	tuns []*tun
	at   map[netip.Addr]int // of each address in tuns

	mu      sync.Mutex
	queue   *queue // guarded by mu
	leaving bool   // nobody reads any more, so nothing waits longer; guarded by mu
	broken  error  // why a reader ended too early; guarded by mu

	wake    chan struct{} // holds one: the first packet that is due may be another
	readers sync.WaitGroup
	writer  sync.WaitGroup
}

// Probe says whether packets from a place can be had, without touching any.
func Probe(p Place) error {
	t, err := openTun(p)
	if err != nil {
		return err
	}
	return t.file.Close()
}

// Open leads all packets between the places through here. An error says why that
// cannot be, and then nothing is changed. Connections that stand go on.
func Open(places []Place, cfg Config) (*Net, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	n := &Net{at: map[netip.Addr]int{}, queue: newQueue(cfg), wake: make(chan struct{}, 1)}
	for i, p := range places {
		if _, twice := n.at[p.Address]; twice || !p.Address.Is4() {
			return nil, errors.Join(fmt.Errorf("place %s: want an IPv4 address of its own, not %s", p.Space, p.Address), n.closeFiles())
		}
		t, err := openTun(p)
		if err != nil {
			return nil, errors.Join(err, n.closeFiles())
		}
		n.tuns, n.at[p.Address] = append(n.tuns, t), i
	}
	for i := range n.tuns {
		n.readers.Go(func() { n.read(i) })
	}
	n.writer.Go(n.write)
	// Every device is up before a packet is led into one.
	var err error
	for _, step := range []func(*tun) error{(*tun).raise, func(t *tun) error { return t.route(n.tuns) }} {
		for _, t := range n.tuns {
			if err == nil {
				err = step(t)
			}
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", err, ErrCannot), n.end())
	}
	return n, nil
}

// Counts returns what has become of the packets so far.
func (n *Net) Counts() Counts {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.queue.counts
}

// Close leads packets their old way, passes on at once those that wait, in the
// order in which they were due, and removes the devices. It is called once.
func (n *Net) Close() (err error) {
	for _, t := range n.tuns {
		err = errors.Join(err, t.unroute(n.tuns))
	}
	return errors.Join(err, n.end())
}

// end stops reading, then writing, then closes the files, with which all that is
// left of the routes goes.
func (n *Net) end() (err error) {
	for _, t := range n.tuns {
		err = errors.Join(err, t.file.SetReadDeadline(time.Now().Add(lastWords)))
	}
	n.readers.Wait()
	n.mu.Lock()
	n.leaving, err = true, errors.Join(err, n.broken)
	n.mu.Unlock()
	n.rouse()
	n.writer.Wait()
	return errors.Join(err, n.closeFiles())
}

func (n *Net) closeFiles() (err error) {
	for _, t := range n.tuns {
		err = errors.Join(err, t.file.Close())
	}
	return err
}

// read takes packets out of one place until the file's deadline, or until there
// is no such place any more, which Close then says.
func (n *Net) read(from int) {
	room := make([]byte, 1<<16) // the longest there can be
	for {
		size, err := n.tuns[from].file.Read(room)
		if err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				n.mu.Lock()
				n.broken = errors.Join(n.broken, fmt.Errorf("read packets of %s: %w", n.tuns[from].Space, err))
				n.mu.Unlock()
			}
			return
		}
		data := slices.Clone(room[:size])
		to, known := n.destination(data)
		n.mu.Lock()
		if known {
			n.queue.add(time.Now(), ends{from, to}, data)
		} else {
			n.queue.counts.Strange++
		}
		n.mu.Unlock()
		if known {
			n.rouse()
		}
	}
}

// destination reads where an IPv4 packet goes, by RFC 791, 3.1.
func (n *Net) destination(data []byte) (to int, known bool) {
	if len(data) < 20 || data[0]>>4 != 4 {
		return 0, false
	}
	to, known = n.at[netip.AddrFrom4([4]byte(data[16:20]))]
	return to, known
}

func (n *Net) rouse() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// write hands over packets as they are due.
func (n *Net) write() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := time.Now()
		n.mu.Lock()
		leaving := n.leaving
		if leaving {
			now = now.Add(n.queue.cfg.High)
		}
		p, wait, ok := n.queue.next(now)
		n.mu.Unlock()
		switch {
		case ok:
			_, err := n.tuns[p.to].file.Write(p.data)
			n.written(err)
			continue
		case leaving:
			return
		case wait >= 0:
			timer.Reset(wait)
		default:
			timer.Stop()
		}
		select {
		case <-timer.C:
		case <-n.wake:
		}
	}
}

func (n *Net) written(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err != nil {
		n.queue.counts.Refused++
		return
	}
	n.queue.counts.Written++
}

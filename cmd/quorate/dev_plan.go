package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
)

// planned is the addresses and the data directory of a node of a dev cluster.
type planned struct {
	ID      string `json:"id"`
	HTTP    string `json:"http"`
	Peer    string `json:"peer"`
	Gossip  string `json:"gossip"`
	DataDir string `json:"-"`
}

// planFile holds the ports of a named data directory, because the data of the nodes
// contains the addresses of their peers.
const planFile = "ports.json"

// planCluster returns directories and ports for n nodes: those of the last run in dir,
// else free ones. httpPort is the port of the first node; 0 is any.
func planCluster(dir string, n, httpPort int) ([]planned, error) {
	path := filepath.Join(dir, planFile)
	var kept []planned
	if b, err := os.ReadFile(path); err == nil {
		if err := json.Unmarshal(b, &kept); err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the ports of the last run: %w", err)
	}

	ports := &portPicker{}
	defer ports.release()
	var plan []planned
	for i := range n {
		p := planned{ID: "n" + strconv.Itoa(i+1)}
		if i < len(kept) {
			p = kept[i]
		}
		p.DataDir = filepath.Join(dir, p.ID)
		if httpPort != 0 {
			p.HTTP = loopbackAddr(httpPort + i)
		}
		var err error
		for _, addr := range []*string{&p.HTTP, &p.Peer, &p.Gossip} {
			if *addr, err = ports.take(*addr); err != nil {
				return nil, fmt.Errorf("node %s: %w", p.ID, err)
			}
		}
		plan = append(plan, p)
	}

	// The ports of nodes that a smaller cluster does not start are kept.
	keep := plan
	if len(kept) > n {
		keep = append(keep[:n:n], kept[n:]...)
	}
	b, err := json.Marshal(keep)
	if err != nil {
		return nil, fmt.Errorf("encode the ports: %w", err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return nil, fmt.Errorf("keep the ports for the next run: %w", err)
	}
	return plan, nil
}

// portPicker finds free ports and keeps them bound until release, so that it returns none
// twice.
type portPicker struct{ held []func() error }

// take holds addr, or any free loopback port if addr is empty, for TCP and
// UDP.
func (p *portPicker) take(addr string) (string, error) {
	if addr != "" {
		return addr, p.hold(addr)
	}
	// Below the range of ephemeral ports: another node could use such a port for an
	// outgoing connection before this node listens on it.
	const low, high, tries = 15000, 32000, 200
	var err error
	for range tries {
		addr = loopbackAddr(low + rand.IntN(high-low))
		if err = p.hold(addr); err == nil {
			return addr, nil
		}
	}
	return "", fmt.Errorf("find a free port: %w", err)
}

func (p *portPicker) hold(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("the port of %s is not free: %w", addr, err)
	}
	u, err := net.ListenPacket("udp", addr)
	if err != nil {
		l.Close()
		return fmt.Errorf("the port of %s is not free: %w", addr, err)
	}
	p.held = append(p.held, l.Close, u.Close)
	return nil
}

func (p *portPicker) release() {
	for _, release := range p.held {
		release()
	}
}

func loopbackAddr(port int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// Package node puts one quorate node together and takes it apart: it is the
// only package that knows all the others.
package node

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"

	"quorate/api/rest"
	"quorate/cluster"
	"quorate/fsm/ledger"
)

// ErrConfig is wrapped by every error of Validate.
var ErrConfig = errors.New("invalid setting")

// MaxNodeID is the longest node id, in bytes.
const MaxNodeID = 64

// maxBootstrap is the most voters a cluster can be started with.
const maxBootstrap = 7

// Config is what one node is told from outside. The koanf tags are the names
// of the flags and of the keys in the configuration file.
type Config struct {
	NodeID  string `koanf:"node-id"`  // this node's name: unique in the cluster, the same after a restart
	DataDir string `koanf:"data-dir"` // the node's own directory, made if missing

	// Where to listen, each host:port; port 0 takes any free one.
	HTTPAddr   string `koanf:"http-addr"`   // the API
	PeerAddr   string `koanf:"peer-addr"`   // Raft and forwarded checks
	GossipAddr string `koanf:"gossip-addr"` // membership, TCP and UDP

	// Where the other nodes find this one, each host:port; empty: as listened.
	AdvertiseHTTP   string `koanf:"advertise-http"`
	AdvertisePeer   string `koanf:"advertise-peer"`
	AdvertiseGossip string `koanf:"advertise-gossip"`

	// Join lists gossip addresses of other nodes; names, and this node's own
	// address, are fine.
	Join []string `koanf:"join"`
	// BootstrapExpect is how many nodes found a new cluster together: 1, 3, 5
	// or 7. 0 only joins one that exists.
	BootstrapExpect int `koanf:"bootstrap-expect"`

	// What keeps strangers out. Files are read again when they change.
	TLSCA          string `koanf:"tls-ca"`           // who is believed, in the API's clients too
	TLSCert        string `koanf:"tls-cert"`         // a node's, for the API and the peer port
	TLSKey         string `koanf:"tls-key"`          //
	TLSClientAuth  bool   `koanf:"tls-client-auth"`  // the API's clients must show a certificate
	GossipKeyFile  string `koanf:"gossip-key-file"`  // keys, one a line; the first encrypts
	AdminTokenFile string `koanf:"admin-token-file"` // tokens with the scope admin, one a line
	GossipKey      Secret `koanf:"-"`                // instead of the file; from the environment alone
	AdminToken     Secret `koanf:"-"`                // likewise

	// Voters is how many of the nodes vote, as the one that leads says; further
	// ones hold a full copy without a vote. 1, 3, 5 or 7.
	Voters int `koanf:"voters"`

	// Insecure allows to listen beyond loopback without all of that.
	Insecure bool `koanf:"insecure"`

	HTTPMaxConns    int `koanf:"http-max-conns"`    // open at once
	HTTPMaxRequests int `koanf:"http-max-requests"` // being answered at once

	LogLevel  string `koanf:"log-level"`  // debug, info, warn or error
	LogFormat string `koanf:"log-format"` // text or json
}

// DefaultConfig returns what is not asked for: loopback addresses, logs as
// text from level info up. NodeID, DataDir and either Join or BootstrapExpect
// have no default.
func DefaultConfig() Config {
	return Config{
		HTTPAddr:   "127.0.0.1:8081",
		PeerAddr:   "127.0.0.1:9081",
		GossipAddr: "127.0.0.1:7081",
		Voters:     cluster.DefaultVoters,
		LogLevel:   "info",
		LogFormat:  "text",

		HTTPMaxConns: rest.DefaultMaxConns, HTTPMaxRequests: rest.DefaultMaxRequests,
	}
}

// Validate returns nil, or an error that wraps ErrConfig, names the first
// setting at fault and says what would be right.
func (c *Config) Validate() error {
	if !ledger.ValidAccount(c.NodeID) || len(c.NodeID) > MaxNodeID {
		return refuse("node-id", c.NodeID, fmt.Sprintf(
			"want 1 to %d bytes of A-Z a-z 0-9 . _ : @ -, the first a letter or digit", MaxNodeID))
	}
	if c.DataDir == "" {
		return refuse("data-dir", c.DataDir, "want the directory in which this node keeps its data")
	}
	if err := c.validateSecurity(); err != nil {
		return err
	}
	if err := c.validateAddresses(); err != nil {
		return err
	}
	for _, a := range c.Join {
		if err := validateAddr("join", a, false); err != nil {
			return err
		}
	}
	switch n := c.BootstrapExpect; {
	case n == 0 && len(c.Join) == 0:
		return refuse("bootstrap-expect", "0",
			"want the number of nodes that found the cluster (1, 3, 5 or 7), or --join to enter one that exists")
	case n < 0 || n > maxBootstrap || n != 0 && n%2 == 0:
		return refuse("bootstrap-expect", strconv.Itoa(n), "want 1, 3, 5 or 7, or 0 to join a cluster that exists")
	}
	if n := c.Voters; n < 1 || n > maxBootstrap || n%2 == 0 {
		return refuse("voters", strconv.Itoa(n), "want 1, 3, 5 or 7")
	}
	if _, err := c.Level(); err != nil {
		return err
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		return refuse("log-format", c.LogFormat, "want text or json")
	}
	return nil
}

func (c *Config) validateAddresses() error {
	for _, a := range []struct{ name, listen, advertise string }{
		{"http", c.HTTPAddr, c.AdvertiseHTTP},
		{"peer", c.PeerAddr, c.AdvertisePeer},
		{"gossip", c.GossipAddr, c.AdvertiseGossip},
	} {
		if err := validateAddr(a.name+"-addr", a.listen, true); err != nil {
			return err
		}
		host, _, _ := net.SplitHostPort(a.listen)
		if !loopback(host) {
			if err := c.closed(a.name+"-addr", a.listen); err != nil {
				return err
			}
		}
		if a.advertise == "" {
			if unspecified(host) {
				return refuse("advertise-"+a.name, "", fmt.Sprintf(
					"want the host:port under which others reach this node, since --%s-addr %s is every interface", a.name, a.listen))
			}
			continue
		}
		if err := validateAddr("advertise-"+a.name, a.advertise, false); err != nil {
			return err
		}
		if host, _, _ = net.SplitHostPort(a.advertise); unspecified(host) {
			return refuse("advertise-"+a.name, a.advertise, "want an address that others can reach")
		}
	}
	return nil
}

// Level returns LogLevel as slog knows it.
func (c *Config) Level() (slog.Level, error) {
	switch strings.ToLower(c.LogLevel) {
	case "debug":
		return slog.LevelDebug, nil
	case "info":
		return slog.LevelInfo, nil
	case "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	}
	return 0, refuse("log-level", c.LogLevel, "want debug, info, warn or error")
}

func refuse(setting, value, want string) error {
	return fmt.Errorf("%w --%s %q: %s", ErrConfig, setting, value, want)
}

// validateAddr wants host:port with a number for the port; anyPort allows 0.
func validateAddr(setting, addr string, anyPort bool) error {
	_, port, err := net.SplitHostPort(addr)
	n, bad := strconv.ParseUint(port, 10, 16)
	if err != nil || bad != nil || n == 0 && !anyPort {
		return refuse(setting, addr, "want host:port")
	}
	return nil
}

func unspecified(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}

// loopback does not resolve names: what a name means can change after the
// check.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Package node assembles a quorate node and shuts it down. It is the only package that
// imports all the others.
package node

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"quorate/api/rest"
	"quorate/cluster"
	"quorate/fsm/ledger"
	"quorate/limiter"
)

// ErrConfig is wrapped by every error of Validate.
var ErrConfig = errors.New("invalid setting")

// MaxNodeID is the longest node id, in bytes.
const MaxNodeID = 64

// maxBootstrap is the most voters a cluster can be started with.
const maxBootstrap = 7

// Config is the configuration of a node. The koanf tags are the names of the flags and
// of the keys in the configuration file.
type Config struct {
	NodeID  string `koanf:"node-id"`  // this node's name: unique in the cluster, the same after a restart
	DataDir string `koanf:"data-dir"` // the node's own directory, created if missing

	// The addresses to listen on, each host:port; port 0 is any free port.
	HTTPAddr   string `koanf:"http-addr"`   // the API
	PeerAddr   string `koanf:"peer-addr"`   // Raft and forwarded checks
	GossipAddr string `koanf:"gossip-addr"` // membership, TCP and UDP

	// The addresses at which other nodes reach this one, each host:port; empty: those above.
	AdvertiseHTTP   string `koanf:"advertise-http"`
	AdvertisePeer   string `koanf:"advertise-peer"`
	AdvertiseGossip string `koanf:"advertise-gossip"`

	// Join lists gossip addresses of other nodes. It may contain host names and this
	// node's own address.
	Join []string `koanf:"join"`
	// BootstrapExpect is how many nodes form a new cluster: 1, 3, 5 or 7. With 0 the
	// node only joins an existing cluster.
	BootstrapExpect int `koanf:"bootstrap-expect"`

	// Security. The files are reloaded when they change.
	TLSCA          string `koanf:"tls-ca"`           // trusted for nodes and clients of the API
	TLSCert        string `koanf:"tls-cert"`         // of this node, for the API and the peer port
	TLSKey         string `koanf:"tls-key"`          //
	TLSClientAuth  bool   `koanf:"tls-client-auth"`  // the API's clients must show a certificate
	GossipKeyFile  string `koanf:"gossip-key-file"`  // keys, one a line; the first encrypts
	AdminTokenFile string `koanf:"admin-token-file"` // tokens with the scope admin, one a line
	GossipKey      Secret `koanf:"-"`                // instead of the file; only from the environment
	AdminToken     Secret `koanf:"-"`                // instead of the file; only from the environment

	// Voters is how many nodes vote: 1, 3, 5 or 7. The leader's setting applies. Further
	// nodes hold a full copy without a vote.
	Voters int `koanf:"voters"`

	// HoldVersion keeps the cluster at the version of commands of the program before.
	HoldVersion bool `koanf:"hold-version"`

	// Insecure allows listening beyond loopback without the settings above.
	Insecure bool `koanf:"insecure"`

	// The settings of the whole cluster, which are those of the node that leads.
	KeyMemory        Span  `koanf:"key-memory"`         // how long idempotency keys are remembered
	KeyMemoryEntries int64 `koanf:"key-memory-entries"` // how many idempotency keys are remembered

	ReservationTTL Span `koanf:"reservation-ttl"` // how long the reservation of a check can be settled

	HTTPMaxConns    int `koanf:"http-max-conns"`    // open at once
	HTTPMaxRequests int `koanf:"http-max-requests"` // being answered at once

	LogLevel  string `koanf:"log-level"`  // debug, info, warn or error
	LogFormat string `koanf:"log-format"` // text or json
}

// DefaultConfig returns the defaults: loopback addresses, and logs as text from level
// info. NodeID, DataDir, Join and BootstrapExpect have no default.
func DefaultConfig() Config {
	return Config{
		HTTPAddr:   "127.0.0.1:8081",
		PeerAddr:   "127.0.0.1:9081",
		GossipAddr: "127.0.0.1:7081",
		Voters:     cluster.DefaultVoters,
		LogLevel:   "info",
		LogFormat:  "text",

		KeyMemory: Span(ledger.DefaultKeyMemory), KeyMemoryEntries: ledger.DefaultKeyMemoryEntries,
		ReservationTTL: Span(limiter.DefaultTTL),

		HTTPMaxConns: rest.DefaultMaxConns, HTTPMaxRequests: rest.DefaultMaxRequests,
	}
}

// Validate returns an error that wraps ErrConfig if a setting is invalid. The error
// names the first invalid setting and the values that are accepted.
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
	if d := time.Duration(c.KeyMemory); d < ledger.MinKeyMemory || d > ledger.MaxKeyMemory {
		return refuse("key-memory", c.KeyMemory.String(), "want 1h to 90d")
	}
	if n := c.KeyMemoryEntries; n < 1 || n > ledger.MaxKeyMemoryEntries {
		return refuse("key-memory-entries", strconv.FormatInt(n, 10), fmt.Sprintf("want 1 to %d", ledger.MaxKeyMemoryEntries))
	}
	if d := time.Duration(c.ReservationTTL); d < time.Second || d > 24*time.Hour {
		return refuse("reservation-ttl", c.ReservationTTL.String(), "want 1s to 24h")
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
			if err := c.validateClosed(a.name+"-addr", a.listen); err != nil {
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

// Level returns LogLevel as a slog.Level.
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

// validateAddr checks that addr is a host:port with a numeric port. anyPort allows 0.
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

// loopback reports whether addr is a loopback address. It does not resolve names: a name
// can resolve differently after the check.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

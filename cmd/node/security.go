package node

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"quorate/api/auth"
)

// refreshInterval is how often certificates, keys and tokens are checked for changes. A
// SIGHUP checks at once.
const refreshInterval = 5 * time.Second

// maxGossipKeys bounds the keys of gossip: the one in use, and those that are being
// added or removed.
const maxGossipKeys = 8

// security holds certificates, gossip keys and admin tokens, and reloads them. It is
// opened before the cluster, and replaces the cluster's keys once setKeys is set.
type security struct {
	certs   *certificates // nil: no TLS
	keys    [][]byte      // of gossip, at the start
	sources []*source
	reload  chan struct{}

	reminded time.Time // when remind last warned; used by watch only

	setKeys func([][]byte) error // of the running cluster; nil before it runs
}

// openSecurity loads the files and values that the config names. Its errors wrap
// ErrConfig.
func openSecurity(cfg *Config, keeper *auth.Keeper, now func() time.Time) (*security, error) {
	s := &security{reload: make(chan struct{}, 1)}
	if cfg.TLSCert != "" {
		s.certs = &certificates{clientAuth: cfg.TLSClientAuth, now: now}
		s.sources = append(s.sources, &source{
			name: "certificates", paths: []string{cfg.TLSCA, cfg.TLSCert, cfg.TLSKey},
			load: func(c [][]byte) error { return s.certs.load(c[0], c[1], c[2]) },
		})
	}
	if cfg.GossipKey != "" {
		if err := s.loadKeys(string(cfg.GossipKey)); err != nil {
			return nil, fmt.Errorf("%w QUORATE_GOSSIP_KEY: %w", ErrConfig, err)
		}
	}
	if cfg.GossipKeyFile != "" {
		s.sources = append(s.sources, &source{
			name: "gossip keys", paths: []string{cfg.GossipKeyFile},
			load: func(c [][]byte) error { return s.loadKeys(string(c[0])) },
		})
	}
	admin := func(text string) error {
		tokens := auth.Secrets(text)
		if len(tokens) == 0 {
			return errors.New("there is no token; make one with `quorate token generate`")
		}
		return keeper.SetAdmin(tokens)
	}
	if cfg.AdminToken != "" {
		if err := admin(string(cfg.AdminToken)); err != nil {
			return nil, fmt.Errorf("%w QUORATE_ADMIN_TOKEN: %w", ErrConfig, err)
		}
	}
	if cfg.AdminTokenFile != "" {
		s.sources = append(s.sources, &source{
			name: "admin token", paths: []string{cfg.AdminTokenFile},
			load: func(c [][]byte) error { return admin(string(c[0])) },
		})
	}
	for _, src := range s.sources {
		if _, err := src.refresh(); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrConfig, src.name, err)
		}
	}
	return s, nil
}

func (s *security) loadKeys(text string) error {
	keys, err := parseKeys(text)
	if err != nil {
		return err
	}
	if s.setKeys != nil {
		return s.setKeys(keys)
	}
	s.keys = keys
	return nil
}

// parseKeys parses gossip keys, one per line. Its errors do not contain them.
func parseKeys(text string) (keys [][]byte, err error) {
	for i, line := range auth.Secrets(text) {
		k, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(k) != 16 && len(k) != 24 && len(k) != 32 {
			return nil, fmt.Errorf("gossip key %d: want 16, 24 or 32 bytes in base64, such as `quorate gossip keygen` makes", i+1)
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 || len(keys) > maxGossipKeys {
		return nil, fmt.Errorf("gossip keys: there are %d, want 1 to %d; make one with `quorate gossip keygen`", len(keys), maxGossipKeys)
	}
	return keys, nil
}

// watch reloads what has changed, until ctx ends.
func (s *security) watch(ctx context.Context, log *slog.Logger) {
	t := time.NewTicker(refreshInterval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-s.reload:
		case <-ctx.Done():
			return
		}
		refreshAll(s.sources, log)
		s.remind(log)
	}
}

// remind warns remindBefore the certificate expires, and every remindInterval after that.
const (
	remindBefore   = 14 * 24 * time.Hour
	remindInterval = 24 * time.Hour
)

// remind warns if the certificate expires soon: other nodes refuse an expired one.
func (s *security) remind(log *slog.Logger) {
	if s.certs == nil {
		return
	}
	now, expires := s.certs.now(), s.certs.current.Load().expires
	if expires.Sub(now) > remindBefore || now.Sub(s.reminded) < remindInterval {
		return
	}
	s.reminded = now
	log.Warn("the certificate must be replaced: when it has expired, the other nodes refuse this one", "expires", expires)
}

// missing lists the security settings that a node needs beyond loopback and does not
// have, each with the command that makes it.
func (c *Config) missing() []string {
	var list []string
	if c.TLSCert == "" {
		list = append(list, "TLS (--tls-ca, --tls-cert and --tls-key; make them with `quorate tls ca` and `quorate tls cert`)")
	}
	if c.GossipKeyFile == "" && c.GossipKey == "" {
		list = append(list, "a gossip key (--gossip-key-file; make it with `quorate gossip keygen`)")
	}
	if c.AdminTokenFile == "" && c.AdminToken == "" {
		list = append(list, "an admin token (--admin-token-file; make it with `quorate token generate`)")
	}
	return list
}

// validateSecurity checks that the security settings are complete and consistent.
func (c *Config) validateSecurity() error {
	given := 0
	for _, f := range []string{c.TLSCA, c.TLSCert, c.TLSKey} {
		if f != "" {
			given++
		}
	}
	switch {
	case given != 0 && given != 3:
		return refuse("tls-cert", c.TLSCert, "want all of --tls-ca, --tls-cert and --tls-key, or none")
	case c.TLSClientAuth && given == 0:
		return refuse("tls-client-auth", "true", "want --tls-ca, --tls-cert and --tls-key with it")
	case c.GossipKey != "" && c.GossipKeyFile != "":
		return refuse("gossip-key-file", c.GossipKeyFile, "want it or QUORATE_GOSSIP_KEY, not both")
	case c.AdminToken != "" && c.AdminTokenFile != "":
		return refuse("admin-token-file", c.AdminTokenFile, "want it or QUORATE_ADMIN_TOKEN, not both")
	case c.HTTPMaxConns < 1 || c.HTTPMaxConns > 1_000_000:
		return refuse("http-max-conns", fmt.Sprint(c.HTTPMaxConns), "want 1 to 1000000")
	case c.HTTPMaxRequests < 1 || c.HTTPMaxRequests > 1_000_000:
		return refuse("http-max-requests", fmt.Sprint(c.HTTPMaxRequests), "want 1 to 1000000")
	}
	return nil
}

// validateClosed refuses an address that other hosts can reach while security settings
// are missing.
func (c *Config) validateClosed(setting, addr string) error {
	missing := c.missing()
	if c.Insecure || len(missing) == 0 {
		return nil
	}
	return refuse(setting, addr, "beyond loopback a node must be closed, and lacks "+strings.Join(missing, ", ")+
		"; or want a loopback address, or --insecure on a network you trust")
}

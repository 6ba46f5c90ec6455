package node

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"quorate/api/auth"
	"quorate/fsm/ledger"
)

// What a node lacks beyond loopback is named, all of it, with how to get it.
func TestClosedByDefault(t *testing.T) {
	for _, addr := range []func(*Config){
		func(c *Config) { c.HTTPAddr = "10.0.0.1:8081" },
		func(c *Config) { c.PeerAddr = "10.0.0.1:9081" },
		func(c *Config) { c.GossipAddr = "0.0.0.0:7081" },
		func(c *Config) { c.HTTPAddr = "somewhere:8081" },
	} {
		for lacks := range 8 {
			c := valid()
			addr(&c)
			c.AdvertiseGossip = "n1:7081"
			if lacks&1 == 0 {
				c.TLSCA, c.TLSCert, c.TLSKey = "ca", "cert", "key"
			}
			if lacks&2 == 0 {
				c.GossipKeyFile = "gossip"
			}
			if lacks&4 == 0 {
				c.AdminTokenFile = "admin"
			}
			err := c.Validate()
			if lacks == 0 {
				if err != nil {
					t.Errorf("nothing lacks: %v", err)
				}
				continue
			}
			if !errors.Is(err, ErrConfig) {
				t.Errorf("lacks %b: %v", lacks, err)
				continue
			}
			for i, words := range [][]string{
				{"--tls-ca", "quorate tls ca", "quorate tls cert"},
				{"--gossip-key-file", "quorate gossip keygen"},
				{"--admin-token-file", "quorate token generate"},
			} {
				for _, w := range words {
					if strings.Contains(err.Error(), w) != (lacks>>i&1 == 1) {
						t.Errorf("lacks %b: %v", lacks, err)
					}
				}
			}
			c.Insecure = true
			if err := c.Validate(); err != nil {
				t.Errorf("lacks %b, insecure: %v", lacks, err)
			}
		}
	}
	c := valid()
	c.PeerAddr, c.TLSCA, c.TLSCert, c.TLSKey, c.GossipKey, c.AdminToken = "10.0.0.1:9081", "ca", "cert", "key", "k", "t"
	if err := c.Validate(); err != nil {
		t.Errorf("from the environment: %v", err)
	}
}

func TestHalfSaidSecurity(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"--tls-cert":          func(c *Config) { c.TLSCert = "cert" },
		"--tls-client-auth":   func(c *Config) { c.TLSClientAuth = true },
		"--gossip-key-file":   func(c *Config) { c.GossipKey, c.GossipKeyFile = "k", "f" },
		"--admin-token-file":  func(c *Config) { c.AdminToken, c.AdminTokenFile = "t", "f" },
		"--http-max-conns":    func(c *Config) { c.HTTPMaxConns = 0 },
		"--http-max-requests": func(c *Config) { c.HTTPMaxRequests = -1 },
	} {
		c := valid()
		change(&c)
		if err := c.Validate(); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func newKeeper(t testing.TB) *auth.Keeper {
	t.Helper()
	s, err := ledger.NewState()
	if err != nil {
		t.Fatal(err)
	}
	return auth.New(s.Tokens, func() bool { return true })
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func gossipKey(c byte) string { return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{c}, 32)) }

// Files that change are taken over; what cannot be used changes nothing, is told
// once, and never shows what is in it.
func TestSecurityIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	cfg := valid()
	cfg.GossipKeyFile, cfg.AdminTokenFile = filepath.Join(dir, "gossip"), filepath.Join(dir, "admin")
	first, second := auth.NewSecret(), auth.NewSecret()
	write(t, cfg.GossipKeyFile, gossipKey('a'))
	write(t, cfg.AdminTokenFile, first)
	keeper := newKeeper(t)
	s, err := openSecurity(&cfg, keeper, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	var keys [][]byte
	s.setKeys = func(k [][]byte) error { keys = k; return nil }
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	knows := func(token string) bool { _, ok := keeper.Authenticate([]byte(token)); return ok }
	if len(s.keys) != 1 || !knows(first) || knows(second) {
		t.Fatalf("keys %d, first %v", len(s.keys), knows(first))
	}
	for _, step := range []struct {
		name, gossip, admin string
		logs                string
		keys                int // handed over
		first, second       bool
	}{
		{"nothing changed", gossipKey('a'), first, "", 0, true, false},
		{"a second of both", gossipKey('a') + "\n" + gossipKey('b'), "# old\n" + first + "\n# new\n" + second, "read again", 2, true, true},
		{"not twice", gossipKey('a') + "\n" + gossipKey('b'), "# old\n" + first + "\n# new\n" + second, "", 0, true, true},
		{"a bad key", gossipKey('a') + "\nc2hvcnQ=", second, "cannot be used", 0, false, true},
		{"told once", gossipKey('a') + "\nc2hvcnQ=", second, "", 0, false, true},
		{"no token", gossipKey('b'), "", "there is no token", 1, false, true},
		{"a short token", gossipKey('b'), "hunter2", "has 7 bytes", 0, false, true},
		{"back", gossipKey('b'), first, "read again", 0, true, false},
	} {
		write(t, cfg.GossipKeyFile, step.gossip)
		write(t, cfg.AdminTokenFile, step.admin)
		log.Reset()
		keys = nil
		refreshAll(s.sources, logger)
		if len(keys) != step.keys || knows(first) != step.first || knows(second) != step.second {
			t.Errorf("%s: %d keys, first %v, second %v", step.name, len(keys), knows(first), knows(second))
		}
		if (step.logs == "") != (log.Len() == 0) || !strings.Contains(log.String(), step.logs) {
			t.Errorf("%s: logged %s", step.name, log.String())
		}
		for _, secret := range []string{first, second, "hunter2", "c2hvcnQ=", gossipKey('a'), gossipKey('b')} {
			if strings.Contains(log.String(), secret) {
				t.Errorf("%s: the log shows %s", step.name, secret)
			}
		}
	}
	if err := os.Remove(cfg.GossipKeyFile); err != nil {
		t.Fatal(err)
	}
	log.Reset()
	refreshAll(s.sources, logger)
	if !strings.Contains(log.String(), "cannot be read again") {
		t.Errorf("a file that is gone: %s", log.String())
	}
}

func TestSecurityThatCannotBegin(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "empty"), "")
	for want, change := range map[string]func(*Config){
		"QUORATE_GOSSIP_KEY":  func(c *Config) { c.GossipKey = "hunter2" },
		"QUORATE_ADMIN_TOKEN": func(c *Config) { c.AdminToken = "hunter2" },
		"gossip keys: there":  func(c *Config) { c.GossipKeyFile = filepath.Join(dir, "empty") },
		"no token":            func(c *Config) { c.AdminTokenFile = filepath.Join(dir, "empty") },
		"nothing-here":        func(c *Config) { c.AdminTokenFile = filepath.Join(dir, "nothing-here") },
		"--tls-ca":            func(c *Config) { c.TLSCA, c.TLSCert, c.TLSKey = dir+"/empty", dir+"/empty", dir+"/empty" },
	} {
		c := valid()
		change(&c)
		_, err := openSecurity(&c, newKeeper(t), time.Now)
		if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	c := valid()
	c.AdminToken, c.GossipKey = "hunter2", "hunter2"
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "cfg", c, "token", c.AdminToken)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "token", c.AdminToken)
	j, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{fmt.Sprint(c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c), fmt.Sprintf("%s %q", c.AdminToken, c.AdminToken), log.String(), string(j)} {
		if strings.Contains(out, "hunter2") {
			t.Errorf("shown in %s", out)
		}
	}
}

// A certificate that ends soon is told of once a day.
func TestExpiryIsToldOf(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s := &security{certs: &certificates{now: func() time.Time { return now }}}
	s.certs.current.Store(&tlsConfigs{expires: now.Add(remindBefore + time.Hour)})
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	told := 0
	for hour := range 4 * 24 {
		s.remind(logger)
		if n := strings.Count(log.String(), "must be replaced"); n > told && hour < 1 {
			t.Errorf("told of too early, after %d hours", hour)
		}
		told = strings.Count(log.String(), "must be replaced")
		now = now.Add(time.Hour)
	}
	if told != 4 {
		t.Errorf("told of %d times in 4 days", told)
	}
}

package node

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func valid() Config {
	c := DefaultConfig()
	c.NodeID, c.DataDir, c.BootstrapExpect = "n1", "data", 1
	return c
}

func TestValidateNamesTheSetting(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Config)
		want   string // the setting at fault; empty: valid
	}{
		{"defaults with a name", func(*Config) {}, ""},
		{"no id", func(c *Config) { c.NodeID = "" }, "--node-id"},
		{"id with a space", func(c *Config) { c.NodeID = "n 1" }, "--node-id"},
		{"id too long", func(c *Config) { c.NodeID = strings.Repeat("n", MaxNodeID+1) }, "--node-id"},
		{"longest id", func(c *Config) { c.NodeID = strings.Repeat("n", MaxNodeID) }, ""},
		{"no data dir", func(c *Config) { c.DataDir = "" }, "--data-dir"},
		{"port missing", func(c *Config) { c.PeerAddr = "127.0.0.1" }, "--peer-addr"},
		{"port too high", func(c *Config) { c.HTTPAddr = "127.0.0.1:65536" }, "--http-addr"},
		{"any port", func(c *Config) { c.HTTPAddr = "localhost:0" }, ""},
		{"IPv6 loopback", func(c *Config) { c.HTTPAddr = "[::1]:8081" }, ""},
		{"open network", func(c *Config) { c.HTTPAddr = "10.0.0.1:8081" }, "--insecure"},
		{"a name may be anywhere", func(c *Config) { c.GossipAddr = "n1:7081" }, "--insecure"},
		{"allowed", func(c *Config) { c.HTTPAddr, c.Insecure = "10.0.0.1:8081", true }, ""},
		{"every interface, no address to tell", func(c *Config) { c.PeerAddr, c.Insecure = ":9081", true }, "--advertise-peer"},
		{"every interface", func(c *Config) { c.PeerAddr, c.AdvertisePeer, c.Insecure = ":9081", "n1:9081", true }, ""},
		{"useless address to tell", func(c *Config) { c.AdvertiseGossip = "0.0.0.0:7081" }, "--advertise-gossip"},
		{"bad join", func(c *Config) { c.Join = []string{"n2:7081", "n3"} }, "--join"},
		{"even bootstrap", func(c *Config) { c.BootstrapExpect = 2 }, "--bootstrap-expect"},
		{"too many voters", func(c *Config) { c.BootstrapExpect = 9 }, "--bootstrap-expect"},
		{"negative", func(c *Config) { c.BootstrapExpect = -1 }, "--bootstrap-expect"},
		{"alone and not bootstrapping", func(c *Config) { c.BootstrapExpect = 0 }, "--bootstrap-expect"},
		{"only joining", func(c *Config) { c.BootstrapExpect, c.Join = 0, []string{"n2:7081"} }, ""},
		{"even voters", func(c *Config) { c.Voters = 2 }, "--voters"},
		{"nine voters", func(c *Config) { c.Voters = 9 }, "--voters"},
		{"no voters", func(c *Config) { c.Voters = 0 }, "--voters"},
		{"five voters", func(c *Config) { c.Voters = 5 }, ""},
		{"short key memory", func(c *Config) { c.KeyMemory = Span(time.Minute) }, "--key-memory"},
		{"long key memory", func(c *Config) { c.KeyMemory = Span(91 * 24 * time.Hour) }, "--key-memory"},
		{"longest key memory", func(c *Config) { c.KeyMemory = Span(90 * 24 * time.Hour) }, ""},
		{"no keys", func(c *Config) { c.KeyMemoryEntries = 0 }, "--key-memory-entries"},
		{"short reservations", func(c *Config) { c.ReservationTTL = 0 }, "--reservation-ttl"},
		{"long reservations", func(c *Config) { c.ReservationTTL = Span(25 * time.Hour) }, "--reservation-ttl"},
		{"log level", func(c *Config) { c.LogLevel = "loud" }, "--log-level"},
		{"log format", func(c *Config) { c.LogFormat = "xml" }, "--log-format"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := valid()
			tt.change(&c)
			err := c.Validate()
			if tt.want == "" {
				if err != nil {
					t.Fatalf("Validate() = %v", err)
				}
				return
			}
			if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("Validate() = %v, want ErrConfig naming %s", err, tt.want)
			}
		})
	}
}

func TestSpan(t *testing.T) {
	for text, want := range map[string]string{"168h": "168h", "7d": "168h", "90m": "1h30m", "10m": "10m", "90s": "1m30s", "1h0m5s": "1h0m5s", "0s": "0s"} {
		var s Span
		if err := s.UnmarshalText([]byte(text)); err != nil || s.String() != want {
			t.Errorf("%s is %s, %v; want %s", text, s, err, want)
		}
	}
	for _, text := range []string{"", "7", "d", "1.5d", "-1d", "a week"} {
		var s Span
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is %s", text, s)
		}
	}
}

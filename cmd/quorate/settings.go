package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"

	"quorate/cmd/node"
)

const (
	envPrefix  = "QUORATE_"
	configFlag = "config"

	envGossipKey  = envPrefix + "GOSSIP_KEY"
	envAdminToken = envPrefix + "ADMIN_TOKEN"
)

// addServeFlags declares a flag for every setting of a node. The names in files and in
// the environment are those of the flags.
func addServeFlags(fs *pflag.FlagSet) {
	d := node.DefaultConfig()
	fs.String(configFlag, "", "YAML `FILE` with the settings below, named as the flags")
	fs.String("node-id", d.NodeID, "this node's name, unique in the cluster and the same after a restart")
	fs.String("data-dir", d.DataDir, "`DIR` with this node's data, made if missing")
	fs.String("http-addr", d.HTTPAddr, "`HOST:PORT` of the API")
	fs.String("peer-addr", d.PeerAddr, "`HOST:PORT` for Raft and the other nodes")
	fs.String("gossip-addr", d.GossipAddr, "`HOST:PORT` for membership, TCP and UDP")
	fs.String("advertise-http", d.AdvertiseHTTP, "`HOST:PORT` of the API as others reach it (default --http-addr)")
	fs.String("advertise-peer", d.AdvertisePeer, "likewise for --peer-addr")
	fs.String("advertise-gossip", d.AdvertiseGossip, "likewise for --gossip-addr")
	fs.StringSlice("join", d.Join, "gossip addresses `A,B` of other nodes; this node's own is fine")
	fs.Int("bootstrap-expect", d.BootstrapExpect, "how many nodes found a new cluster: 1, 3, 5 or 7; 0 only joins")
	fs.String("tls-ca", d.TLSCA, "`FILE` with the authority of all certificates; read again when it changes, as the next four")
	fs.String("tls-cert", d.TLSCert, "`FILE` with this node's certificate, for the API and the peer port")
	fs.String("tls-key", d.TLSKey, "`FILE` with its key")
	fs.String("gossip-key-file", d.GossipKeyFile, "`FILE` with the keys of gossip, one a line, the first encrypts ($"+envGossipKey+": the keys)")
	fs.String("admin-token-file", d.AdminTokenFile, "`FILE` with admin tokens of this node, one a line ($"+envAdminToken+": the tokens)")
	fs.Bool("tls-client-auth", d.TLSClientAuth, "clients of the API must show a certificate too")
	fs.Int("voters", d.Voters, "how many nodes vote, the same on all: 1, 3, 5 or 7; further ones hold copies without a vote")
	fs.Bool("hold-version", d.HoldVersion, "stay with what the version before can read, so that going back to it works, until all nodes run without this")
	fs.Bool("insecure", d.Insecure, "listen beyond loopback without TLS, gossip key and admin token")
	fs.String("key-memory", d.KeyMemory.String(), "how long the cluster remembers idempotency keys, 1h to 90d; of the whole cluster: the value of the node that leads")
	fs.Int64("key-memory-entries", d.KeyMemoryEntries, "how many idempotency keys the cluster remembers, whichever of the two is less; likewise")
	fs.String("reservation-ttl", d.ReservationTTL.String(), "how long the reservation of a check can be settled, 1s to 24h")
	fs.Int("http-max-conns", d.HTTPMaxConns, "how many connections the API takes at once")
	fs.Int("http-max-requests", d.HTTPMaxRequests, "how many requests the API answers at once")
	fs.String("log-level", d.LogLevel, "debug, info, warn or error")
	fs.String("log-format", d.LogFormat, "text or json")
}

// loadConfig reads the settings, in this order of precedence: flag, environment, file,
// default. It does not validate them.
func loadConfig(fs *pflag.FlagSet, environ func() []string) (node.Config, error) {
	k := koanf.New(".")
	fromEnv := environment(fs, environ)

	path := fs.Lookup(configFlag).Value.String()
	if path == "" {
		early := koanf.New(".")
		if err := early.Load(fromEnv, nil); err != nil {
			return node.Config{}, fmt.Errorf("read the environment: %w", err)
		}
		path = early.String(configFlag)
	}
	if path != "" {
		if err := k.Load(file.Provider(path), yaml.Parser()); err != nil {
			return node.Config{}, fmt.Errorf("read --config %s: %w", path, err)
		}
		if err := knownKeys(fs, k.Keys()); err != nil {
			return node.Config{}, fmt.Errorf("read --config %s: %w", path, err)
		}
	}
	if err := k.Load(fromEnv, nil); err != nil {
		return node.Config{}, fmt.Errorf("read the environment: %w", err)
	}
	if err := k.Load(posflag.Provider(fs, ".", k), nil); err != nil {
		return node.Config{}, fmt.Errorf("read the flags: %w", err)
	}

	cfg := node.DefaultConfig()
	cfg.Join = nil
	err := k.UnmarshalWithConf("", &cfg, koanf.UnmarshalConf{DecoderConfig: &mapstructure.DecoderConfig{
		Result:           &cfg,
		TagName:          "koanf",
		WeaklyTypedInput: true, // the environment knows only strings
		DecodeHook: mapstructure.ComposeDecodeHookFunc(
			mapstructure.StringToSliceHookFunc(","), mapstructure.TextUnmarshallerHookFunc()),
	}})
	if err != nil {
		return node.Config{}, fmt.Errorf("read the settings: %w", err)
	}
	// Not from a command line, which other users of the machine can read.
	for _, kv := range environ() {
		if v, ok := strings.CutPrefix(kv, envGossipKey+"="); ok {
			cfg.GossipKey = node.Secret(v)
		} else if v, ok := strings.CutPrefix(kv, envAdminToken+"="); ok {
			cfg.AdminToken = node.Secret(v)
		}
	}
	for i, a := range cfg.Join {
		cfg.Join[i] = strings.TrimSpace(a)
	}
	return cfg, nil
}

// environment reads QUORATE_NODE_ID and so on. It ignores other names with that prefix:
// client verbs use some, and orchestrators set others (QUORATE_PORT for a Kubernetes
// service named quorate). An empty value counts as not set.
func environment(fs *pflag.FlagSet, environ func() []string) *env.Env {
	return env.Provider(".", env.Opt{
		Prefix:      envPrefix,
		EnvironFunc: environ,
		TransformFunc: func(k, v string) (string, any) {
			name := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(k, envPrefix)), "_", "-")
			if v == "" || !setting(fs, name) {
				return "", nil
			}
			return name, v
		},
	})
}

// knownKeys returns an error for a key that is not a setting: the setting that a misspelt
// key was meant for would silently keep its default.
func knownKeys(fs *pflag.FlagSet, keys []string) error {
	slices.Sort(keys)
	for _, key := range keys {
		if key == configFlag || !setting(fs, key) {
			return fmt.Errorf("unknown key %q", key)
		}
	}
	return nil
}

func setting(fs *pflag.FlagSet, name string) bool {
	return name != "help" && fs.Lookup(name) != nil
}

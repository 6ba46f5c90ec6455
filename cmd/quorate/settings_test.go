package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"quorate/cmd/node"
)

func load(t *testing.T, file string, environ, args []string) (node.Config, error) {
	t.Helper()
	if file != "" {
		path := filepath.Join(t.TempDir(), "quorate.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		environ = append([]string{"QUORATE_CONFIG=" + path}, environ...)
	}
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	addServeFlags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return loadConfig(fs, func() []string { return environ })
}

func TestSettingsPrecedence(t *testing.T) {
	const file = "http-addr: 127.0.0.1:1\njoin: [a:1, 'b:2']\nbootstrap-expect: 5\ninsecure: true\n"
	tests := []struct {
		name    string
		file    string
		environ []string
		args    []string
		want    func(*node.Config)
	}{
		{"defaults", "", nil, nil, func(*node.Config) {}},
		{"file over default", file, nil, nil, func(c *node.Config) {
			c.HTTPAddr, c.Join, c.BootstrapExpect, c.Insecure = "127.0.0.1:1", []string{"a:1", "b:2"}, 5, true
		}},
		{
			"environment over file", file,
			[]string{"QUORATE_HTTP_ADDR=127.0.0.1:2", "QUORATE_JOIN=c:3,d:4", "QUORATE_BOOTSTRAP_EXPECT=3", "QUORATE_INSECURE=false"}, nil,
			func(c *node.Config) {
				c.HTTPAddr, c.Join, c.BootstrapExpect = "127.0.0.1:2", []string{"c:3", "d:4"}, 3
			},
		},
		{
			"flag over environment", file,
			[]string{"QUORATE_HTTP_ADDR=127.0.0.1:2", "QUORATE_JOIN=c:3", "QUORATE_INSECURE=true"},
			[]string{"--http-addr", "127.0.0.1:3", "--join", "e:5", "--bootstrap-expect", "1", "--insecure=false"},
			func(c *node.Config) {
				c.HTTPAddr, c.Join, c.BootstrapExpect = "127.0.0.1:3", []string{"e:5"}, 1
			},
		},
		{
			"a flag that says the default still wins", "log-level: debug\n", nil, []string{"--log-level", "info"},
			func(*node.Config) {},
		},
		{
			"empty and foreign variables", "",
			[]string{"QUORATE_NODE_ID=", "QUORATE_PORT=tcp://10.0.0.1:80", "QUORATE_HELP=1", "QUORATE_ENDPOINTS=x", "NODE_ID=y"}, nil,
			func(*node.Config) {},
		},
		{"list in one string", "join: a:1, b:2\n", nil, nil, func(c *node.Config) { c.Join = []string{"a:1", "b:2"} }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := node.DefaultConfig()
			tt.want(&want)
			got, err := load(t, tt.file, tt.environ, tt.args)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got.Join, want.Join) {
				t.Errorf("Join = %q, want %q", got.Join, want.Join)
			}
			got.Join, want.Join = nil, nil
			if g, w := flat(got), flat(want); g != w {
				t.Errorf("got %s, want %s", g, w)
			}
		})
	}
}

func TestSettingsRefused(t *testing.T) {
	tests := []struct{ name, file, environ, want string }{
		{"unknown key", "node_id: n1\n", "", `"node_id"`},
		{"nested key", "http:\n  addr: x\n", "", `"http.addr"`},
		{"a file cannot name a file", "config: x\n", "", `"config"`},
		{"help is no setting", "help: true\n", "", `"help"`},
		{"key given twice", "insecure: true\ninsecure: false\n", "", "insecure"},
		{"no YAML", "node-id: [\n", "", "yaml"},
		{"no number", "", "QUORATE_BOOTSTRAP_EXPECT=three", "bootstrap-expect"},
		{"no file", "", "QUORATE_CONFIG=/does/not/exist.yaml", "/does/not/exist.yaml"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := load(t, tt.file, []string{tt.environ}, nil)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("err = %v, want it to name %s", err, tt.want)
			}
		})
	}
}

// Secrets come from the environment, never from a command line.
func TestSecretsFromTheEnvironment(t *testing.T) {
	cfg, err := load(t, "", []string{"QUORATE_ADMIN_TOKEN=one=two", "QUORATE_GOSSIP_KEY=c2VjcmV0", "QUORATE_ADMIN_TOKEN_FILE=f"}, nil)
	if err != nil || string(cfg.AdminToken) != "one=two" || string(cfg.GossipKey) != "c2VjcmV0" || cfg.AdminTokenFile != "f" {
		t.Errorf("%q, %q, %q, %v", string(cfg.AdminToken), string(cfg.GossipKey), cfg.AdminTokenFile, err)
	}
	for _, key := range []string{"admin-token", "gossip-key"} {
		if _, err := load(t, key+": x\n", nil, nil); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s in a file: %v", key, err)
		}
	}
}

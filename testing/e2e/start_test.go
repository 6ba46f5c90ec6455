package e2e

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"quorate/testing/testcluster"
)

// TestStartErrors: what keeps a node from starting is one line and an exit
// code of 1 or 2.
func TestStartErrors(t *testing.T) {
	c := testcluster.Start(t, 1) // whose data directory and ports are in use
	running := c.Nodes[0]
	udp, err := net.ListenPacket("udp", testcluster.FreeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	config := filepath.Join(dir, "config.yaml")
	for path, content := range map[string]string{file: "not a directory", config: "node-idd: n1\n"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	// serve returns a good command line, with some flags changed or, by "",
	// left away.
	serve := func(change map[string]string) []string {
		flags := map[string]string{
			"node-id": "x1", "data-dir": filepath.Join(dir, "data"), "bootstrap-expect": "1",
			"http-addr": testcluster.FreeAddr(t), "peer-addr": testcluster.FreeAddr(t), "gossip-addr": testcluster.FreeAddr(t),
		}
		for k, v := range change {
			flags[k] = v
		}
		args := []string{"serve"}
		for k, v := range flags {
			if v != "" {
				args = append(args, "--"+k, v)
			}
		}
		return args
	}
	set := func(kv ...string) map[string]string {
		m := map[string]string{}
		for i := 0; i < len(kv); i += 2 {
			m[kv[i]] = kv[i+1]
		}
		return m
	}
	tests := []struct {
		name  string
		args  []string
		code  int
		words []string // in the line
	}{
		{"HTTP port taken", serve(set("http-addr", running.HTTP)), 1, []string{running.HTTP}},
		{"peer port taken", serve(set("peer-addr", running.Peer)), 1, []string{running.Peer}},
		{"gossip port taken", serve(set("gossip-addr", running.Gossip)), 1, []string{running.Gossip}},
		{"gossip port taken for UDP alone", serve(set("gossip-addr", udp.LocalAddr().String())), 1, []string{udp.LocalAddr().String()}},
		{"data directory below a file", serve(set("data-dir", filepath.Join(file, "data"))), 1, []string{file}},
		{"data directory a file", serve(set("data-dir", file)), 1, []string{file}},
		{"data directory that nobody can write", serve(set("data-dir", "/proc/quorate")), 1, []string{"/proc/quorate"}},
		{"data directory in use", serve(set("data-dir", running.DataDir)), 1, []string{running.DataDir}},
		{"bad flag", append(serve(nil), "--node-idd", "n1"), 2, []string{"node-idd"}},
		{"bad number", serve(set("bootstrap-expect", "three")), 2, []string{"bootstrap-expect"}},
		{"even number of founders", serve(set("bootstrap-expect", "2")), 2, []string{"bootstrap-expect"}},
		{"bad address", serve(set("http-addr", "nowhere")), 2, []string{"nowhere"}},
		{"bad port", serve(set("peer-addr", "127.0.0.1:99999")), 2, []string{"99999"}},
		{"beyond loopback without --insecure", serve(set("http-addr", "0.0.0.0:0")), 2, []string{"insecure"}},
		{
			"beyond loopback with nothing to keep strangers out", serve(set("peer-addr", "0.0.0.0:0")), 2,
			[]string{"--tls-cert", "quorate tls cert", "--gossip-key-file", "quorate gossip keygen", "--admin-token-file", "quorate token generate"},
		},
		{
			"beyond loopback with a part of it",
			serve(set("gossip-addr", "0.0.0.0:0", "advertise-gossip", "127.0.0.1:1", "gossip-key-file", file, "admin-token-file", file)), 2, []string{"TLS", "quorate tls ca"},
		},
		{"a certificate without its key", serve(set("tls-cert", file)), 2, []string{"--tls-key"}},
		{"no certificate in the file", serve(set("tls-ca", file, "tls-cert", file, "tls-key", file)), 2, []string{"--tls-ca"}},
		{"no key in the file", serve(set("gossip-key-file", file)), 2, []string{"gossip key", "base64"}},
		{"no token in the file", serve(set("admin-token-file", file)), 2, []string{"admin token", "quorate token generate"}},
		{"an admin token that is not there", serve(set("admin-token-file", filepath.Join(dir, "none"))), 2, []string{filepath.Join(dir, "none")}},
		{"no node id", serve(set("node-id", "")), 2, []string{"node-id"}},
		{"bad node id", serve(set("node-id", "a b")), 2, []string{"node-id"}},
		{"no data directory", serve(set("data-dir", "")), 2, []string{"data-dir"}},
		{"config file that is not there", serve(set("config", filepath.Join(dir, "no.yaml"))), 0, []string{"no.yaml"}},
		{"unknown key in the config file", serve(set("config", config)), 2, []string{"node-idd"}},
		{"an argument too many", append(serve(nil), "more"), 2, []string{"more"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := testcluster.Run(t, 15*time.Second, tt.args...)
			line := strings.TrimRight(got.Stderr, "\n")
			if got.Code != tt.code && (tt.code != 0 || got.Code != 1 && got.Code != 2) {
				t.Errorf("exit code %d, want %d", got.Code, tt.code)
			}
			if line == "" || strings.Contains(line, "\n") {
				t.Errorf("want one line on stderr, got %q", got.Stderr)
			}
			for _, w := range tt.words {
				if !strings.Contains(line, w) {
					t.Errorf("%q does not say %q", line, w)
				}
			}
			if strings.Contains(line, "goroutine") || strings.Contains(line, "panic") {
				t.Errorf("a panic: %q", line)
			}
		})
	}
	if d := running.Check(t, testcluster.Check{Account: "acme", Category: "llm"}); d.Reason != "free_tier" {
		t.Errorf("the node whose ports and data were asked for: %s", d.Reply)
	}
}

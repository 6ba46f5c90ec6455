// Gateways are to end with the test however it ends, and only Linux can do that.
//go:build linux

// Package gateways runs the configurations beside it: real nginx, Caddy and
// HAProxy in front of an application, asking a real cluster.
package gateways

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"quorate/testing/testcluster"
)

func TestMain(m *testing.M) { os.Exit(testcluster.Main(m)) }

var gateways = []struct {
	name    string
	program string
	files   []string // the first is the configuration
	args    func(dir string) []string
}{
	{"nginx", "nginx", []string{"nginx.conf"}, func(dir string) []string {
		return []string{"-p", dir, "-e", "error.log", "-c", "nginx.conf", "-g", "daemon off; pid nginx.pid;"}
	}},
	{"caddy", "caddy", []string{"Caddyfile"}, func(dir string) []string {
		return []string{"run", "--adapter", "caddyfile", "--config", filepath.Join(dir, "Caddyfile")}
	}},
	{"haproxy", "haproxy", []string{"haproxy.cfg", "quorate.lua"}, func(dir string) []string {
		return []string{"-db", "-C", dir, "-f", "haproxy.cfg"}
	}},
}

func TestGateways(t *testing.T) {
	c := testcluster.Start(t, 3)
	var reached http.Header
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reached = r.Header.Clone()
		fmt.Fprint(w, "hello from the application")
	}))
	defer app.Close()
	for i, g := range gateways {
		t.Run(g.name, func(t *testing.T) {
			program, err := exec.LookPath(g.program)
			if err != nil {
				t.Skipf("skipped: no %s", g.program)
			}
			account := "gate-" + g.name
			url := "http://" + start(t, program, g.files, g.args, c, app.Listener.Addr().String(), account)
			c.Nodes[i].MustDo(t, "PATCH", "/v1/accounts/"+account, map[string]any{"plan": "build"})

			if r := get(t, url, ""); r.status != 401 {
				t.Errorf("without a key: %d", r.status)
			}
			denied(t, get(t, url, "Bearer sk-acme"), 403, "free_tier")

			index := c.Nodes[i].Purchase(t, account, "k", "5").Reply.Index()
			c.WaitApplied(t, index)
			// A forged header must not help: nor name another account, nor make
			// the request free.
			r := get(t, url, "Bearer sk-acme", "X-Quorate-Account", "somebody", "X-Quorate-Requests", "0", "X-Quorate-Tokens", "0")
			if r.status != 200 || r.body != "hello from the application" {
				t.Fatalf("allowed: %d %s", r.status, r.body)
			}
			if got := remaining(t, c, account); got > 599 {
				t.Errorf("%d of 600 left after one request", got)
			}
			if g.name == "nginx" && !strings.Contains(r.header.Get("RateLimit"), "llm-requests-1m") {
				t.Errorf("RateLimit is %q", r.header.Get("RateLimit"))
			}
			if reached.Get("Authorization") != "Bearer sk-acme" {
				t.Error("the application did not get the client's headers")
			}

			c.Nodes[0].MustDo(t, "POST", "/v1/check", map[string]any{"account": account, "category": "llm", "requests": remaining(t, c, account)})
			var limited reply
			testcluster.Eventually(t, 5*time.Second, "a 429", func() error {
				if limited = get(t, url, "Bearer sk-acme"); limited.status != 429 {
					return fmt.Errorf("status %d", limited.status)
				}
				return nil
			})
			denied(t, limited, 429, "")
			if after, err := strconv.Atoi(limited.header.Get("Retry-After")); err != nil || after < 1 {
				t.Errorf("Retry-After is %q", limited.header.Get("Retry-After"))
			}
		})
	}
}

// start runs the gateway with its configuration, in which only the addresses
// and the account are replaced, and returns its address.
func start(t *testing.T, program string, files []string, args func(string) []string, c *testcluster.Cluster, app, account string) string {
	t.Helper()
	dir, addr := t.TempDir(), testcluster.FreeAddr(t)
	replace := strings.NewReplacer(
		"127.0.0.1:8000", addr, "127.0.0.1:9000", app, " acme", " "+account, "str(acme)", "str("+account+")",
		"127.0.0.1:8081", c.Nodes[0].HTTP, "127.0.0.1:8082", c.Nodes[1].HTTP, "127.0.0.1:8083", c.Nodes[2].HTTP,
	)
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(replace.Replace(string(b))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(program, args(dir)...)
	var out strings.Builder
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &out
	cmd.Env = append(os.Environ(), "HOME="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // how it ends is not the test's matter
		if t.Failed() {
			t.Log(out.String())
		}
	})
	testcluster.Eventually(t, 10*time.Second, program+" answering", func() error {
		r, err := http.Get("http://" + addr + "/")
		if err == nil {
			r.Body.Close()
		}
		return err
	})
	return addr
}

type reply struct {
	status int
	header http.Header
	body   string
}

func get(t *testing.T, url, key string, headers ...string) reply {
	t.Helper()
	q, err := http.NewRequest("POST", url+"/v1/chat/completions", strings.NewReader(`{"model":"any"}`))
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		q.Header.Set("Authorization", key)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		q.Header.Set(headers[i], headers[i+1])
	}
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{r.StatusCode, r.Header, string(b)}
}

// denied checks that a customer gets a status, an error of the known shape, and
// no word of the nodes behind.
func denied(t *testing.T, r reply, status int, code string) {
	t.Helper()
	var body struct {
		Error struct{ Message, Type, Code string }
	}
	if err := json.Unmarshal([]byte(r.body), &body); err != nil || r.status != status || body.Error.Message == "" {
		t.Errorf("denied with %d %s, want %d and an error", r.status, r.body, status)
	}
	if code != "" && body.Error.Code != code {
		t.Errorf("code %q, want %q", body.Error.Code, code)
	}
	if strings.Contains(r.body, `"n1"`) || strings.Contains(r.body, "decided_by") {
		t.Errorf("a denial names nodes: %s", r.body)
	}
}

func remaining(t *testing.T, c *testcluster.Cluster, account string) int64 {
	t.Helper()
	var d struct{ Limits []struct{ Remaining int64 } }
	r := c.Nodes[0].MustDo(t, "POST", "/v1/check", map[string]any{"account": account, "category": "llm", "dry_run": true})
	if err := json.Unmarshal(r.Body, &d); err != nil || len(d.Limits) == 0 {
		t.Fatalf("dry run: %s", r)
	}
	return d.Limits[0].Remaining
}

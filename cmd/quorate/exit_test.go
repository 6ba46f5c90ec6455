package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"quorate/api/client"
	"quorate/cmd/node"
)

func flat(c node.Config) string { return fmt.Sprintf("%+v", c) }

func TestExitCode(t *testing.T) {
	tests := []struct {
		err  error
		want int
	}{
		{nil, exitOK},
		{errors.New("disk full"), exitError},
		{usage(errors.New("bad flag")), exitUsage},
		{fmt.Errorf("start: %w", node.ErrConfig), exitUsage},
		{errDenied, exitDenied},
		{fmt.Errorf("check: %w", client.ErrUnavailable), exitUnavailable},
		{&client.Error{Status: http.StatusServiceUnavailable, Code: "no_quorum"}, exitUnavailable},
		{errors.Join(client.ErrUnavailable, &client.Error{Status: http.StatusServiceUnavailable}), exitUnavailable},
		{&client.Error{Status: http.StatusNotFound, Code: "unknown_account"}, exitError},
	}
	for _, tt := range tests {
		if got := exitCode(tt.err); got != tt.want {
			t.Errorf("exitCode(%v) = %d, want %d", tt.err, got, tt.want)
		}
	}
}

// TestCommandLines runs whole command lines against a fake node.
func TestCommandLines(t *testing.T) {
	t.Setenv(envEndpoints, "")
	tests := []struct {
		name   string
		status int
		body   string
		args   []string
		want   int
		stdout string // part of it
		stderr string // part of it; empty: nothing is written
	}{
		{"allowed", 200, `{"allowed":true,"reason":"ok","account":"acme"}`, []string{"check", "acme", "--category", "llm"}, exitOK, "allowed", ""},
		{"denied", 429, `{"allowed":false,"reason":"rate_limited","retry_after_ms":1500}`, []string{"check", "acme", "--category", "llm"}, exitDenied, "retry after 1.5s", ""},
		{"denied as JSON", 403, `{"allowed":false,"reason":"free_tier"}`, []string{"check", "acme", "--category", "llm", "-o", "json"}, exitDenied, `{"allowed":false,"reason":"free_tier"}`, ""},
		{"unavailable", 503, `{"code":"behind","detail":"wait"}`, []string{"check", "acme", "--category", "llm"}, exitUnavailable, "", "behind"},
		{"problem", 404, `{"code":"unknown_account","detail":"no such account"}`, []string{"account", "get", "acme"}, exitError, "", "unknown_account"},
		{"nothing to check", 200, `{}`, []string{"check", "acme"}, exitUsage, "", "--category"},
		{"no account", 200, `{}`, []string{"check"}, exitUsage, "", "--help"},
		{"unknown verb", 200, `{}`, []string{"chekc"}, exitUsage, "", "chekc"},
		{"unknown verb of a group", 200, `{}`, []string{"account", "got", "acme"}, exitUsage, "", "got"},
		{"unknown flag", 200, `{}`, []string{"serve", "--nope"}, exitUsage, "", "--nope"},
		{"bad format", 200, `{}`, []string{"cluster", "status", "-o", "xml"}, exitUsage, "", "table or json"},
		{"bad endpoint", 200, `{}`, []string{"cluster", "status", "--endpoints", "ftp://x"}, exitUsage, "", "ftp://x"},
		{"no key", 200, `{}`, []string{"ledger", "purchase", "acme", "5"}, exitUsage, "", "--key"},
		{"a bad issue time", 200, `{}`, []string{"ledger", "purchase", "acme", "5", "--key", "k", "--issued-at", "now"}, exitUsage, "", "--issued-at"},
		{"entry", 200, `{"replayed":true,"entry":{"type":"purchase","amount":"5.00","index":7}}`, []string{"ledger", "purchase", "acme", "5", "--key", "k"}, exitOK, "was applied before at index 7", ""},
		{"reservation", 200, `{"allowed":true,"reason":"ok","account":"acme","reservation":"r-1"}`, []string{"check", "acme", "--category", "llm", "--reserve"}, exitOK, "reservation r-1", ""},
		{"a dry run reserves nothing", 200, `{}`, []string{"check", "acme", "--category", "llm", "--reserve", "--dry-run"}, exitUsage, "", "--dry-run"},
		{"settle", 200, `{"settled":true,"usage_recorded":true}`, []string{"settle", "acme", "r-1", "--tokens", "0", "--amount", "1"}, exitOK, "usage recorded", ""},
		{"settle what is lost", 200, `{"settled":false,"usage_recorded":true,"reason":"reservation_unknown"}`, []string{"settle", "acme", "r-1", "--tokens", "7"}, exitOK, "not settled: reservation_unknown", ""},
		{"settle without tokens", 200, `{}`, []string{"settle", "acme", "r-1"}, exitUsage, "", "--tokens"},
		{"settle other numbers", 409, `{"status":409,"code":"reservation_settled","detail":"settled otherwise"}`, []string{"settle", "acme", "r-1", "--tokens", "7"}, exitError, "", "reservation_settled"},
		{"release", 200, `{"settled":true}`, []string{"release", "acme", "r-1", "-o", "json"}, exitOK, `{"settled":true}`, ""},
		{"release what is lost", 404, `{"status":404,"code":"reservation_unknown","detail":"expired"}`, []string{"release", "acme", "r-1"}, exitError, "", "reservation_unknown"},
		{"explain", 200, `{"decision":{"allowed":false,"reason":"free_tier"},"rules":[{"rule":"tier","outcome":"deny","detail":"tier 1 is needed"}]}`, []string{"explain", "acme", "--category", "llm"}, exitOK, "tier 1 is needed", ""},
		{"explain what", 200, `{}`, []string{"explain", "acme"}, exitUsage, "", "--model"},
		{"account list", 200, `{"accounts":[{"id":"acme","tier":2}],"next_cursor":"acme"}`, []string{"account", "list", "--limit", "1"}, exitOK, "--cursor acme", ""},
		{"account delete", 204, ``, []string{"account", "delete", "acme"}, exitOK, "deleted acme", ""},
		{"account delete with credits", 409, `{"status":409,"code":"not_empty","detail":"it holds credits"}`, []string{"account", "delete", "acme"}, exitError, "", "not_empty"},
		{"policy get", 200, "schema: 1\n", []string{"policy", "get"}, exitOK, "schema: 1", ""},
		{"policy get as JSON", 200, `{"revision":7,"policy":{}}`, []string{"policy", "get", "-o", "json"}, exitOK, `"revision":7`, ""},
		{"policy set without a file", 200, `{}`, []string{"policy", "set"}, exitUsage, "", "--help"},
		{"policy set no such file", 200, `{}`, []string{"policy", "set", "no-such-file"}, exitError, "", "no-such-file"},
		{"completion", 200, ``, []string{"completion", "bash"}, exitOK, "quorate", ""},
		{"serve without a name", 200, `{}`, []string{"serve"}, exitUsage, "", "--node-id"},
		{"ready", 200, `ok`, []string{"health", "--ready"}, exitOK, "ok", ""},
		{"not ready", 503, `{"code":"unavailable"}`, []string{"health", "--ready"}, exitUnavailable, "", "503"},
		{"version", 200, ``, []string{"version"}, exitOK, "quorate ", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fake := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.status)
				w.Write([]byte(tt.body))
			}))
			defer fake.Close()
			t.Setenv(envEndpoints, fake.URL)

			var stdout, stderr bytes.Buffer
			if code := run(tt.args, &stdout, &stderr); code != tt.want {
				t.Errorf("exit code %d, want %d; stderr: %s", code, tt.want, &stderr)
			}
			if !strings.Contains(stdout.String(), tt.stdout) {
				t.Errorf("stdout %q, want %q in it", &stdout, tt.stdout)
			}
			if tt.stderr == "" && stderr.Len() > 0 || !strings.Contains(stderr.String(), tt.stderr) {
				t.Errorf("stderr %q, want %q in it", &stderr, tt.stderr)
			}
			if n := strings.Count(stderr.String(), "\n"); n > 1 {
				t.Errorf("stderr has %d lines, want one: %s", n, &stderr)
			}
		})
	}
}

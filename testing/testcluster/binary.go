package testcluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// built is where the binary is, empty while nobody asked for it.
var built string

var build = sync.OnceValues(func() (path string, err error) {
	dir, err := os.MkdirTemp("", "quorate-test-")
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, "quorate")
	built = path
	out, err := exec.Command("go", "build", "-o", path, "quorate/cmd/quorate").CombinedOutput()
	if err != nil {
		return path, fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// Binary builds the quorate binary, once a test process, and returns its path.
func Binary(tb testing.TB) string {
	tb.Helper()
	path, err := build()
	if err != nil {
		tb.Fatal(err)
	}
	return path
}

// BinaryWith builds the binary with build tags, for this test alone, and returns
// its path.
func BinaryWith(tb testing.TB, tags string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "quorate")
	out, err := exec.Command("go", "build", "-tags", tags, "-o", path, "quorate/cmd/quorate").CombinedOutput()
	if err != nil {
		tb.Fatalf("go build -tags %s: %v\n%s", tags, err, out)
	}
	return path
}

// Main runs a package's tests and removes the binary they built. A package
// that uses this one calls it from TestMain.
func Main(m *testing.M) int {
	defer func() {
		if built != "" {
			_ = os.RemoveAll(filepath.Dir(built)) // a temporary directory
		}
	}()
	return m.Run()
}

// Output is what a command printed and how it ended.
type Output struct {
	Stdout, Stderr string
	Code           int // -1: it did not end in time and was killed
}

// Run runs the binary until it ends, for at most the given time.
func Run(tb testing.TB, within time.Duration, args ...string) Output {
	tb.Helper()
	program := Binary(tb) // before the time begins to count
	ctx, cancel := context.WithTimeout(tb.Context(), within)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = cleanEnv()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		tb.Fatalf("run quorate %v: %v", args, err)
	}
	return Output{Stdout: stdout.String(), Stderr: stderr.String(), Code: cmd.ProcessState.ExitCode()}
}

var ports struct {
	sync.Mutex
	next int
}

// FreeAddr returns a loopback address whose port is free for TCP and UDP and
// was not handed out before. It is below the range that outgoing connections
// take theirs from, so that nobody takes it while a node restarts.
func FreeAddr(tb testing.TB) string {
	tb.Helper()
	ports.Lock()
	defer ports.Unlock()
	const low, high = 15_000, 32_000
	if ports.next == 0 {
		ports.next = os.Getpid() * 97 // test processes side by side start apart
	}
	for range 2000 {
		ports.next++
		addr := fmt.Sprintf("127.0.0.1:%d", low+ports.next%(high-low))
		t, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		u, err := net.ListenPacket("udp", addr)
		_ = t.Close() // it never carried anything
		if err != nil {
			continue
		}
		_ = u.Close() // likewise
		return addr
	}
	tb.Fatal("no free port")
	return ""
}

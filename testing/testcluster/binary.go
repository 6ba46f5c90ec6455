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
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// binary is a program that is built when a test first asks for it.
type binary struct {
	tags []string

	once sync.Once
	dir  string // temporary, "" until it is made
	err  error
}

var (
	plain      binary
	withFaults = binary{tags: []string{"-tags", "faultinject"}}
)

func (b *binary) build(tb testing.TB) string {
	tb.Helper()
	b.once.Do(func() {
		if b.dir, b.err = os.MkdirTemp("", "quorate-test-"); b.err != nil {
			return
		}
		args := slices.Concat([]string{"build"}, b.tags, []string{"-o", b.path(), "quorate/cmd/quorate"})
		if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
			b.err = fmt.Errorf("go %v: %w\n%s", args, err, out)
		}
	})
	if b.err != nil {
		tb.Fatal(b.err)
	}
	return b.path()
}

func (b *binary) path() string { return filepath.Join(b.dir, "quorate") }

func (b *binary) remove() {
	if b.dir != "" {
		_ = os.RemoveAll(b.dir) // a temporary directory
	}
}

// Binary builds the quorate binary, once a test process, and returns its path.
func Binary(tb testing.TB) string {
	tb.Helper()
	return plain.build(tb)
}

// FaultBinary is Binary for a build that injects the faults that its environment
// names; without any it behaves like that of Binary.
func FaultBinary(tb testing.TB) string {
	tb.Helper()
	return withFaults.build(tb)
}

// Inject returns the environment variable by which a FaultBinary injects faults;
// cmd/node lists their names.
func Inject(faults ...string) string { return "QUORATE_FAULT=" + strings.Join(faults, ",") }

// Main runs a package's tests and removes the binaries that they built. A package
// that uses this one calls it from TestMain.
func Main(m *testing.M) int {
	defer plain.remove()
	defer withFaults.remove()
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
	return RunProgram(tb, within, program, nil, args...)
}

// RunProgram is Run for a program, with env added to the environment.
func RunProgram(tb testing.TB, within time.Duration, program string, env []string, args ...string) Output {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), within)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(cleanEnv(), env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		tb.Fatalf("run %s %v: %v", program, args, err)
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

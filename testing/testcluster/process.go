package testcluster

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Node is one process of a cluster, or the place of one.
type Node struct {
	ID      string
	URL     string   // http://HTTP
	HTTP    string   // host:port, as Peer and Gossip
	Peer    string   //
	Gossip  string   //
	DataDir string   //
	Args    []string // what it is started with; may be changed while it does not run
	Program string   // what is started; empty: Binary. Likewise
	Through []string // a command that starts it, given as its last arguments. Likewise
	Env     []string // beside the environment; likewise

	Client *http.Client // what asks it; nil: one without certificates
	Token  string       // that requests carry; empty: none

	logFile string

	mu     sync.Mutex
	boot   *boot
	killed bool // the last boot was ended by the test
}

// boot is one run of a node's process.
type boot struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the process was waited for
}

// Running reports whether the process runs.
func (n *Node) Running() bool {
	l := n.current()
	return l != nil && !l.over()
}

// PID returns the id of the process that runs, else 0.
func (n *Node) PID() int {
	if l := n.current(); l != nil && !l.over() {
		return l.cmd.Process.Pid
	}
	return 0
}

// Exited reports whether the process ended without being asked to.
func (n *Node) Exited() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.boot != nil && n.boot.over() && !n.killed
}

func (n *Node) current() *boot {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.boot
}

func (l *boot) over() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// Start starts the node, which does not run, with the binary given; empty: its own
// Program.
func (n *Node) Start(binary string) error {
	if binary == "" {
		binary = n.Program
	}
	if n.Running() {
		return errors.New("it runs already")
	}
	log, err := os.OpenFile(n.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own
	line := slices.Concat(n.Through, []string{binary}, n.Args)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(cleanEnv(), n.Env...)
	if err := startBound(cmd); err != nil {
		return err
	}
	l := &boot{cmd: cmd, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // the exit code is read from cmd.ProcessState
		close(l.done)
	}()
	n.mu.Lock()
	n.boot, n.killed = l, false
	n.mu.Unlock()
	return nil
}

// Kill ends the process at once (SIGKILL) and waits for it; one that does not run
// is fine.
func (n *Node) Kill() error {
	l := n.ending()
	if l == nil {
		return nil
	}
	if err := l.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-l.done
	return nil
}

// Stop asks the process to leave (SIGTERM), waits for it and returns its exit code.
func (n *Node) Stop(within time.Duration) (code int, err error) {
	l := n.ending()
	if l == nil {
		return 0, errors.New("it does not run")
	}
	if err := l.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return 0, err
	}
	select {
	case <-l.done:
		return l.cmd.ProcessState.ExitCode(), nil
	case <-time.After(within):
		return 0, fmt.Errorf("still there %s after SIGTERM", within)
	}
}

// ExitCode returns the exit code of the node's last process, -1 if it runs or was killed.
func (n *Node) ExitCode() int {
	l := n.current()
	if l == nil || !l.over() {
		return -1
	}
	return l.cmd.ProcessState.ExitCode()
}

// ending returns the running boot and notes that the test ends it.
func (n *Node) ending() *boot {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.boot == nil || n.boot.over() {
		return nil
	}
	n.killed = true
	return n.boot
}

// Log returns all that the node has logged so far.
func (n *Node) Log(tb testing.TB) string {
	tb.Helper()
	b, err := os.ReadFile(n.logFile)
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

// Signal sends a signal to the node's process.
func (n *Node) Signal(tb testing.TB, s os.Signal) {
	tb.Helper()
	l := n.current()
	if l == nil || l.over() {
		tb.Fatalf("%s does not run", n.ID)
	}
	if err := l.cmd.Process.Signal(s); err != nil {
		tb.Fatalf("signal %s: %v", n.ID, err)
	}
}

// LogTail returns the last lines of the node's log, of all its boots.
func (n *Node) LogTail(lines int) string {
	b, err := os.ReadFile(n.logFile)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// cleanEnv is the environment without the variables that would configure a
// node.
func cleanEnv() (env []string) {
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "QUORATE_") {
			env = append(env, kv)
		}
	}
	return env
}

package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"quorate/testing/testcluster"
)

// devCluster is what `quorate dev` prints without a terminal.
type devCluster struct {
	Ready bool
	Nodes []struct {
		ID, HTTP string
		PID      int
		DataDir  string `json:"data_dir"`
	}
	cmd  *exec.Cmd
	rest chan error // its end
}

func startDev(t *testing.T, args ...string) *devCluster {
	t.Helper()
	d := &devCluster{cmd: exec.Command(testcluster.Binary(t), append([]string{"dev", "--http-port", "0"}, args...)...), rest: make(chan error, 1)}
	d.cmd.Stderr = os.Stderr
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make(chan string, 1)
	go func() {
		r := bufio.NewReader(out)
		s, _ := r.ReadString('\n') // an end without a line is seen below
		line <- s
		_, _ = r.ReadString(0) // drain until it ends
		d.rest <- d.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = d.cmd.Process.Kill() // it has ended where the test went well
	})
	select {
	case s := <-line:
		if err := json.Unmarshal([]byte(s), d); err != nil || !d.Ready || len(d.Nodes) != 3 {
			t.Fatalf("it printed %q (%v)", s, err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("not ready after 30 s")
	}
	t.Logf("three nodes ready after %s", time.Since(start).Round(time.Millisecond))
	return d
}

func (d *devCluster) node(i int) *testcluster.Node {
	url := d.Nodes[i].HTTP
	if !strings.HasPrefix(url, "http://") {
		url = "http://" + url
	}
	return &testcluster.Node{ID: d.Nodes[i].ID, URL: url}
}

// interrupt is Ctrl-C: all of it ends, and with it the nodes.
func (d *devCluster) interrupt(t *testing.T) {
	t.Helper()
	if err := d.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-d.rest:
		if err != nil {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("still there 30 s after an interrupt")
	}
	for _, n := range d.Nodes {
		testcluster.Eventually(t, 5*time.Second, "its nodes end", func() error {
			if err := syscall.Kill(n.PID, 0); !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("%s, process %d: %v", n.ID, n.PID, err)
			}
			return nil
		})
	}
}

// TestDev: three real processes, ready in time, gone at the end.
func TestDev(t *testing.T) {
	d := startDev(t)
	account := newAccount(t)
	index := d.node(0).Purchase(t, account, "k", "5").Reply.Index()
	for i := range d.Nodes {
		got := d.node(i).Check(t, testcluster.Check{Account: account, Category: "llm"}, testcluster.MinIndex(index))
		if !got.Allowed || got.Limits[0].Remaining > 600-int64(i+1)+1 {
			t.Errorf("check %d: %s", i, got.Reply)
		}
	}
	d.interrupt(t)
	for _, n := range d.Nodes {
		if _, err := os.Stat(n.DataDir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there (%v)", n.DataDir, err)
		}
	}
}

// TestDevKeepsANamedDirectory: what was bought is there the next time.
func TestDevKeepsANamedDirectory(t *testing.T) {
	dir := t.TempDir()
	account := newAccount(t)
	d := startDev(t, "--data-dir", dir)
	d.node(1).Purchase(t, account, "k", "5")
	token, _ := newToken(t, d.node(0), "root", "admin") // from now on nobody gets in without
	d.interrupt(t)
	d = startDev(t, "--data-dir", dir)
	testcluster.Eventually(t, 10*time.Second, "it knows that it has a token", func() error {
		switch r := d.node(2).MustDo(t, "GET", "/v1/accounts/"+account, nil); r.Status {
		case 401:
			return nil
		case 200:
			return testcluster.Permanent(errors.New("open to everybody"))
		default:
			return errors.New(r.String())
		}
	})
	node := d.node(2)
	node.Token = token
	if a := node.Account(t, account); a.LifetimeSpend != "5.00" {
		t.Errorf("after a restart: %+v", a)
	}
	d.interrupt(t)
}

package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"quorate/testing/testcluster"
)

// TestCompose brings up the three nodes of docker-compose.yml and asks each.
func TestCompose(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: short")
	}
	compose := composeCommand()
	if compose == nil {
		t.Skip("skipped: no engine")
	}
	for _, port := range []string{"8081", "8082", "8083"} {
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Skipf("skipped: the ports that docker-compose.yml publishes are taken: %v", err)
		}
		_ = l.Close() // it never carried anything
	}
	run(t, 5*time.Minute, "make", "image", "certs")
	compose = append(compose, "-p", fmt.Sprintf("quorate-e2e-%d", os.Getpid()))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s", run(t, time.Minute, append(compose, "logs", "--no-color", "--tail=40")...))
		}
		run(t, 2*time.Minute, append(compose, "down", "--volumes", "--timeout", "20")...)
	})
	run(t, 2*time.Minute, append(compose, "up", "-d")...)

	// The same waits and the same questions as of any other cluster, from
	// outside: nodes here have the names and ports that the file gives them.
	keys := &testcluster.Keys{Dir: "../../.keys", CA: "../../.keys/ca.pem"}
	keys.Token = strings.TrimSpace(readFile(t, "../../.keys/admin-token"))
	var nodes []*testcluster.Node
	for i := range 3 {
		nodes = append(nodes, &testcluster.Node{
			ID: fmt.Sprint("n", i+1), URL: fmt.Sprint("https://127.0.0.1:", 8081+i), Client: keys.Client(t, ""), Token: keys.Token,
		})
	}
	testcluster.Eventually(t, 60*time.Second, "the containers are healthy", func() error {
		out, err := exec.Command("docker", "ps", "--format", "{{.Names}} {{.Status}}", "--filter", "name=quorate-n").CombinedOutput()
		if err != nil || strings.Count(string(out), "(healthy)") != 3 {
			return fmt.Errorf("%s (%v)", out, err)
		}
		return nil
	})
	testcluster.Eventually(t, 30*time.Second, "the nodes share the partitions", func() error {
		r, err := nodes[0].Do(t.Context(), "GET", "/v1/cluster", nil)
		if err != nil {
			return err
		}
		var s testcluster.Status
		if err := r.JSON(&s); err != nil {
			return err
		}
		for _, n := range nodes {
			if line := s.Node(n.ID); line == nil || line.Partitions == 0 || line.State != "alive" {
				return fmt.Errorf("%s: %+v", n.ID, line)
			}
		}
		return nil
	})

	for _, n := range nodes {
		if r := n.MustDo(t, "GET", "/v1/cluster", nil, testcluster.Token("")); r.Status != 401 {
			t.Errorf("%s without a token: %s", n.ID, r)
		}
	}
	account := newAccount(t)
	index := nodes[0].Purchase(t, account, "k", "5").Reply.Index()
	start := time.Now()
	admitted := int64(0)
	deciders := map[string]bool{}
	for i := range 70 {
		d := nodes[i%3].Check(t, costing(account, "llm", 10), testcluster.MinIndex(index))
		deciders[d.DecidedBy] = true
		if d.Allowed {
			admitted += 10
		}
	}
	back := int64(600*time.Since(start).Minutes()) + 1
	if admitted < 600 || admitted > 600+back || len(deciders) != 1 {
		t.Errorf("admitted %d of 600 (%d came back), decided by %v", admitted, back, deciders)
	}
}

// composeCommand is docker-compose, or nil where no engine answers.
func composeCommand() []string {
	if exec.Command("docker", "info").Run() != nil {
		return nil
	}
	if exec.Command("docker-compose", "version").Run() == nil {
		return []string{"docker-compose"}
	}
	if exec.Command("docker", "compose", "version").Run() == nil {
		return []string{"docker", "compose"}
	}
	return nil
}

// run runs a command at the repository's root and returns what it printed.
func run(t *testing.T, within time.Duration, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = "../.."
	timer := time.AfterFunc(within, func() { _ = cmd.Process.Kill() }) // Wait says what became of it
	defer timer.Stop()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

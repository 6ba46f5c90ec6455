package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"quorate/testing/testcluster"
)

// TestReadmeClosed runs what the README says of running it closed, on one
// machine: the names of hosts and the folder of the data are this one's.
func TestReadmeClosed(t *testing.T) {
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(b), "\n## Running it closed\n")
	section, _, _ = strings.Cut(section, "\n## ")
	blocks := strings.Split(section, "```")
	if !ok || len(blocks) != 7 {
		t.Fatalf("%d blocks", len(blocks)/2)
	}
	dir := t.TempDir()
	c := testcluster.New(t, 3)
	shell := func(script string) string {
		t.Helper()
		cmd := exec.Command("sh", "-eux", "-c", script)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(testcluster.Binary(t))+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	shell(blocks[1])
	token, err := os.ReadFile(filepath.Join(dir, "keys", "admin-token"))
	if err != nil {
		t.Fatal(err)
	}
	keys := &testcluster.Keys{Dir: filepath.Join(dir, "keys"), CA: filepath.Join(dir, "keys", "ca.pem"), Token: strings.TrimSpace(string(token))}
	https := keys.Client(t, "")
	var pairs []string
	for _, n := range c.Nodes {
		pairs = append(pairs, n.ID+".example.com:8081", n.HTTP, n.ID+".example.com:9081", n.Peer, n.ID+".example.com:7081", n.Gossip)
	}
	hosts := strings.NewReplacer(pairs...)
	for i, n := range c.Nodes {
		text := strings.ReplaceAll(strings.ReplaceAll(blocks[3], "\\\n", " "), "keys/", keys.Dir+"/")
		text = strings.NewReplacer("--node-id n1", "--node-id "+n.ID, "keys/n1", "keys/"+n.ID, "advertise-http n1", "advertise-http "+n.ID,
			"advertise-peer n1", "advertise-peer "+n.ID, "advertise-gossip n1", "advertise-gossip "+n.ID,
			"/var/lib/quorate", n.DataDir, "0.0.0.0:8081", n.HTTP, "0.0.0.0:9081", n.Peer, "0.0.0.0:7081", n.Gossip).Replace(text)
		n.Args = strings.Fields(hosts.Replace(text))[1:] // without the program's name
		n.URL, n.Client, n.Token = "https://"+n.HTTP, https, keys.Token
		c.Restart(i)
	}
	c.WaitReady()
	out := shell(hosts.Replace(blocks[5]))
	for _, want := range []string{"gateway  check  ", "billing  ledger,read  ", "revoked", "token.revoke"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	testcluster.Eventually(t, 10*time.Second, "one token is left everywhere", func() error {
		for _, n := range c.Nodes {
			r := n.MustDo(t, "GET", "/v1/tokens", nil, testcluster.Strong)
			if strings.Contains(string(r.Body), "gateway") || !strings.Contains(string(r.Body), "billing") {
				return errors.New(r.String())
			}
		}
		return nil
	})
}

package lifecycle

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"quorate/testing/testcluster"
)

// TestBackupAndRestore backs a cluster up, changes it, restores it, and restores
// another one from the same file.
func TestBackupAndRestore(t *testing.T) {
	c := testcluster.Start(t, 3)
	n1, n2, n3 := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	began := time.Now()
	c.PurchaseEach("acct", *many)
	t.Logf("%d accounts bought in %.1f s", *many, time.Since(began).Seconds())
	n1.MustDo(t, "PATCH", "/v1/accounts/acct-1", `{"plan":"scale","suspended":true}`)
	doc := n1.MustDo(t, "GET", "/v1/policy?format=yaml", nil).Body
	if r := n2.MustDo(t, "PUT", "/v1/policy", append(doc, "\n# the one of the backup\n"...)); r.Status != 200 {
		t.Fatal(r)
	}

	file := filepath.Join(t.TempDir(), "cluster.backup")
	began = time.Now()
	n2.MustVerb(t, "backup", file)
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("backup of %d bytes in %.1f s", info.Size(), time.Since(began).Seconds())
	was := restore(t, n3, file, "--dry-run")
	if was.Restored || was.Accounts != *many || was.Keys != *many {
		t.Fatalf("the backup is of %+v", was)
	}

	// What comes after it.
	n1.Purchase(t, "late", "k", "7")
	n1.Purchase(t, "acct-0", "more", "100")
	if r := n1.MustDo(t, "PUT", "/v1/policy", append(doc, "\n# another\n"...)); r.Status != 200 {
		t.Fatal(r)
	}
	before := n1.Status(t)

	refuseDamaged(t, c, file)
	watch := watchRestore(t, n1, n2)
	rss := peak(t, c)
	began = time.Now()
	got := restore(t, n3, file)
	took := time.Since(began)
	grew := rss()
	watch.end(t)
	t.Logf("restored %d accounts in %.1f s (%d polls of readiness said no, %d writes were refused meanwhile); memory at most %v MiB more a node",
		got.Accounts, took.Seconds(), watch.unready, watch.refused, grew)
	if !got.Restored || got.Content != was.Content || got.ReachesIndex != was.ReachesIndex || got.Index <= was.ReachesIndex {
		t.Fatalf("restored %+v, want %+v", got, was)
	}
	c.WaitReady()
	if now := wantEqual(t, c); now.Content != was.Content {
		t.Errorf("the nodes hold %s, the backup %s", now.Content, was.Content)
	}
	after := n1.Status(t)
	if after.ClusterID != before.ClusterID || after.Epoch != before.Epoch || len(after.Nodes) != 3 {
		t.Errorf("before %+v, after %+v: membership or ownership changed", before, after)
	}
	for _, n := range c.Nodes {
		if n.Status(t).Node(n.ID).AppliedIndex < got.Index {
			t.Errorf("%s is at index %d, the restore was at %d", n.ID, n.Status(t).Node(n.ID).AppliedIndex, got.Index)
		}
		if r := n.MustDo(t, "GET", "/v1/accounts/late", nil); r.Status != 404 {
			t.Errorf("an account from after the backup at %s: %s", n.ID, r)
		}
		if a := n.Account(t, "acct-0"); a.LifetimeSpend != "5.00" {
			t.Errorf("acct-0 at %s: spent %s", n.ID, a.LifetimeSpend)
		}
		if a := n.Account(t, "acct-1"); a.Plan != "scale" || !a.Suspended {
			t.Errorf("acct-1 at %s: %+v", n.ID, a)
		}
		if got := n.MustDo(t, "GET", "/v1/policy?format=yaml", nil).Body; !bytes.Contains(got, []byte("the one of the backup")) {
			t.Errorf("the policy at %s is another", n.ID)
		}
	}
	if e := n2.Purchase(t, "acct-0", "first", "5"); !e.Replayed || e.Account.LifetimeSpend != "5.00" {
		t.Errorf("a key of the backup: %+v", e)
	}
	if e := n2.Purchase(t, "acct-0", "more", "100"); e.Replayed || e.Account.LifetimeSpend != "105.00" {
		t.Errorf("a key from after the backup: %+v", e)
	}

	fresh := testcluster.Start(t, 1)
	other := restore(t, fresh.Nodes[0], file)
	if other.Content != was.Content || content(t, fresh.Nodes[0]).Content != was.Content {
		t.Errorf("a fresh cluster holds %+v, the backup %s", other, was.Content)
	}
	if id := fresh.Nodes[0].Status(t).ClusterID; id == before.ClusterID || other.ClusterID != before.ClusterID {
		t.Errorf("the fresh cluster has id %s, the backup is of %s, made of %s", id, other.ClusterID, before.ClusterID)
	}
	if e := fresh.Nodes[0].Purchase(t, "acct-0", "first", "5"); !e.Replayed || e.Entry.Index > other.Index {
		t.Errorf("a key of the backup in the fresh cluster: %+v", e)
	}
}

// TestRestoreOutlivesTheLeader kills the leader in the middle of a restore, and
// then, in the middle of another, the node that was asked for it.
func TestRestoreOutlivesTheLeader(t *testing.T) {
	c := testcluster.Start(t, 3)
	c.PurchaseEach("acct", 60_000)
	file := filepath.Join(t.TempDir(), "cluster.backup")
	c.Nodes[0].MustVerb(t, "backup", file)
	was := restore(t, c.Nodes[0], file, "--dry-run")
	c.Nodes[0].Purchase(t, "late", "k", "5")

	under := func(asked, victim int) testcluster.Output {
		t.Helper()
		done := make(chan testcluster.Output, 1)
		go func() {
			done <- c.Nodes[asked].Verb(t, "restore", file)
		}()
		third := c.Nodes[(victim+1)%3]
		if asked == (victim+1)%3 {
			third = c.Nodes[(victim+2)%3]
		}
		testcluster.Eventually(t, 20*time.Second, "the restore is under way", func() error {
			if r := third.MustDo(t, "GET", "/readyz?verbose", nil); !strings.Contains(r.String(), "[-]restoring") {
				return fmt.Errorf("%s", r)
			}
			return nil
		})
		c.Kill(victim)
		return <-done
	}
	leader := c.Leader()
	began := time.Now()
	if out := under((leader+1)%3, leader); out.Code != 0 {
		t.Fatalf("the leader died meanwhile: %+v", out)
	}
	t.Logf("restored in %.1f s, with the leader killed in the middle", time.Since(began).Seconds())
	if now := wantEqual(t, c); now.Content != was.Content {
		t.Errorf("the nodes hold %s, the backup %s", now.Content, was.Content)
	}
	c.Restart(leader)
	c.WaitReady()
	wantEqual(t, c)

	c.Nodes[0].Purchase(t, "late", "k", "5")
	was = wantEqual(t, c)
	asked := (c.Leader() + 1) % 3
	if out := under(asked, asked); out.Code == 0 {
		t.Fatalf("the node that was asked died, and the restore has ended: %+v", out)
	}
	// Nothing has changed; the log gives the restore up in a minute of its time.
	other := c.Nodes[(asked+1)%3]
	if r := other.MustDo(t, "POST", "/v1/accounts/late/ledger", testcluster.Entry{Key: "k2", Type: "purchase", Amount: "5"}); r.Status != 503 || !strings.Contains(r.String(), "restore is in progress") {
		t.Errorf("a write while it is open: %s", r)
	}
	if now := wantEqual(t, c); now.Content != was.Content {
		t.Errorf("the nodes hold %s, before the restore that was left %s", now.Content, was.Content)
	}
	// Its spool goes with the next start.
	left := func() []string {
		names, _ := filepath.Glob(filepath.Join(c.Nodes[asked].DataDir, "restore-*.spool"))
		return names
	}
	if len(left()) != 1 {
		t.Errorf("spools: %v", left())
	}
	c.Restart(asked)
	if !*long {
		t.Log("how long writes are refused is for -long")
		return
	}
	began = time.Now()
	testcluster.Eventually(t, 2*time.Minute, "writes are taken again", func() error {
		r, err := other.Do(context.Background(), "POST", "/v1/accounts/late/ledger", testcluster.Entry{Key: "k2", Type: "purchase", Amount: "5"})
		if err != nil || r.Status != 200 {
			return fmt.Errorf("%v %v", r, err)
		}
		return nil
	})
	t.Logf("writes are taken again %.0f s after the restart of the node that was asked", time.Since(began).Seconds())
	c.WaitReady()
	if len(left()) > 0 {
		t.Errorf("spools: %v", left())
	}
	wantEqual(t, c)
}

// refuseDamaged restores damaged files and wants nothing to change.
func refuseDamaged(t *testing.T, c *testcluster.Cluster, file string) {
	t.Helper()
	was := content(t, c.Nodes[0])
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	for name, b := range map[string][]byte{"a flipped bit": flipped, "cut short": whole[:len(whole)-9], "empty": nil} {
		r := c.Nodes[1].MustDo(t, "POST", "/v1/restore", b)
		if r.Status != 422 || !strings.Contains(r.String(), "invalid_backup") {
			t.Errorf("%s: %s", name, r)
		}
		if r := c.Nodes[1].MustDo(t, "GET", "/readyz", nil); r.Status != 200 {
			t.Errorf("%s: not ready afterwards: %s", name, r)
		}
	}
	if now := wantEqual(t, c); now.Content != was.Content {
		t.Errorf("damaged backups changed the content from %s to %s", was.Content, now.Content)
	}
}

// watched is what clients see of a restore. Its fields are read after load.Stop.
type watched struct {
	load             *testcluster.Load
	unready, refused int
}

// watchRestore asks for readiness and writes until end.
func watchRestore(t *testing.T, ready, writes *testcluster.Node) *watched {
	w := &watched{load: testcluster.NewLoad(t)}
	w.load.Client(func(context.Context) time.Duration {
		if r, err := ready.Do(context.Background(), "GET", "/readyz?verbose", nil); err != nil {
			w.load.Fail("during the restore: %v", err)
		} else if r.Status != 200 {
			if w.unready++; !strings.Contains(r.String(), "[-]restoring") {
				w.load.Fail("during the restore: %s", r)
			}
		}
		// If it is accepted, this write changes nothing.
		r, err := writes.Do(context.Background(), "DELETE", "/v1/accounts/nobody", nil)
		if err != nil {
			w.load.Fail("during the restore: %v", err)
		} else if r.Status != 404 {
			if w.refused++; r.Status != 503 || !strings.Contains(r.String(), "restore is in progress") {
				w.load.Fail("during the restore: %s", r)
			}
		}
		return 20 * time.Millisecond
	})
	return w
}

// end wants that the clients saw the restore.
func (w *watched) end(t *testing.T) {
	t.Helper()
	w.load.Stop()
	w.load.WantNone(t)
	if w.unready == 0 || w.refused == 0 {
		t.Errorf("nobody saw the restore: %d polls not ready, %d writes refused", w.unready, w.refused)
	}
}

// peak watches the memory of all nodes; the function it returns ends that and
// tells by how many MiB each grew at most.
func peak(t *testing.T, c *testcluster.Cluster) func() []int {
	ctx, cancel := context.WithCancel(t.Context())
	first, most := make([]int, len(c.Nodes)), make([]int, len(c.Nodes))
	done := make(chan struct{})
	for i, n := range c.Nodes {
		first[i] = rss(n.PID())
	}
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			for i, n := range c.Nodes {
				most[i] = max(most[i], rss(n.PID())-first[i])
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
	return func() []int { cancel(); <-done; return most }
}

// rss returns a process's resident memory in MiB, 0 where nobody knows.
func rss(pid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmRSS:" {
			kb, _ := strconv.Atoi(f[1])
			return kb >> 10
		}
	}
	return 0
}

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"quorate/testing/testcluster"
)

// cli runs a client verb against a cluster and checks its exit code and what
// its output must hold.
func cli(t *testing.T, c *testcluster.Cluster, code int, want string, args ...string) string {
	t.Helper()
	endpoints := make([]string, len(c.Nodes))
	for i, n := range c.Nodes {
		endpoints[i] = n.HTTP
	}
	out := testcluster.Run(t, 20*time.Second, append(args, "--endpoints", strings.Join(endpoints, ","))...)
	all := out.Stdout + out.Stderr
	if out.Code != code || !strings.Contains(all, want) {
		t.Errorf("quorate %s: exit code %d, want %d with %q:\n%s", strings.Join(args, " "), out.Code, code, want, all)
	}
	return out.Stdout
}

func TestVerbs(t *testing.T) {
	c := testcluster.Start(t, 3)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}

	cli(t, c, 3, "free_tier", "check", "acme", "--category", "llm")
	cli(t, c, 0, "tier 1 is needed", "explain", "acme", "--category", "llm")
	cli(t, c, 0, "applied at index", "ledger", "purchase", "acme", "5", "--key", "p1")
	cli(t, c, 0, "was applied before", "ledger", "purchase", "acme", "5.00", "--key", "p1")
	cli(t, c, 1, "key_reused", "ledger", "purchase", "acme", "6", "--key", "p1")
	cli(t, c, 0, "tier 1's limits for llm", "explain", "acme", "--category", "llm")

	// A reservation, from the check to its release.
	id := regexp.MustCompile(`r2-[A-Za-z0-9_-]+`)
	r1 := id.FindString(cli(t, c, 0, "reservation r2-", "check", "acme", "--category", "rerank", "--tokens", "1000", "--reserve"))
	cli(t, c, 0, "usage recorded", "settle", "acme", r1, "--tokens", "400", "--amount", "0.25")
	cli(t, c, 0, "was settled before", "settle", "acme", r1, "--tokens", "400", "--amount", "0.25")
	cli(t, c, 1, "reservation_settled", "settle", "acme", r1, "--tokens", "401", "--amount", "0.25")
	cli(t, c, 0, "4.75 purchased", "account", "get", "acme")
	r2 := id.FindString(cli(t, c, 0, "reservation r2-", "check", "acme", "--category", "rerank", "--tokens", "1000", "--reserve"))
	cli(t, c, 0, "settled", "release", "acme", r2)
	cli(t, c, 1, "reservation_unknown", "release", "acme", "r-nobody")
	cli(t, c, 2, "--tokens", "settle", "acme", r2)

	// Accounts.
	cli(t, c, 0, "usage_limit", "account", "set", "prepaid", "--usage-limit", "0.00")
	cli(t, c, 0, "next page: --cursor acme", "account", "list", "--limit", "1")
	cli(t, c, 0, "prepaid", "account", "list", "--limit", "1", "--cursor", "acme")
	cli(t, c, 1, "not_empty", "account", "delete", "acme")
	cli(t, c, 0, "deleted prepaid", "account", "delete", "prepaid")
	cli(t, c, 1, "unknown_account", "account", "get", "prepaid")

	// The policy.
	doc := cli(t, c, 0, "Build Tier 5", "policy", "get")
	same, other := write("same.yaml", doc), write("other.yaml", strings.Replace(doc, "limit: 600,", "limit: 700,", 1))
	bad := write("bad.yaml", strings.Replace(doc, "limit: 600,", "limit: 0,", 1))
	cli(t, c, 0, "no difference", "policy", "diff", same)
	cli(t, c, 0, "+ tiers[0].limits.llm[0].limit: 700", "policy", "diff", other)
	cli(t, c, 1, "tiers[0].limits.llm[0].limit", "policy", "validate", bad)
	cli(t, c, 1, "tiers[0].limits.llm[0].limit", "policy", "set", bad)
	cli(t, c, 1, "revision_mismatch", "policy", "set", other, "--if-revision", "99")
	cli(t, c, 0, "revision 2 is in force", "policy", "set", other)
	cli(t, c, 0, "limit: 700,", "policy", "get")
}

func TestImport(t *testing.T) {
	c := testcluster.Start(t, 3)
	dir := t.TempDir()
	file := filepath.Join(dir, "bill.csv")
	write := func(lines ...string) {
		if err := os.WriteFile(file, []byte("account,key,type,amount\n"+strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Nothing of a file with a bad line is recorded.
	write("a,k,purchase,5", `a,"k,2",usage,1`, "a,k3,gift,1")
	cli(t, c, 1, "line 4, column 6: type: want purchase", "ledger", "import", file)
	write("a,k,purchase,5", "a,k2")
	cli(t, c, 1, "record on line 3: wrong number of fields", "ledger", "import", file)
	cli(t, c, 1, "unknown_account", "account", "get", "a")

	const accounts = 2500
	var lines []string
	for i := range accounts {
		lines = append(lines, fmt.Sprintf("acc-%d,first,purchase,50.25", i), fmt.Sprintf("acc-%d,second,usage,0.000001", i))
	}
	lines = append(lines, "acc-0,third,refund,1000")
	write(lines...)
	for range 2 {
		cli(t, c, 1, "5001 entries, 1 refused", "ledger", "import", file)
	}
	for _, i := range []int{0, 1, accounts - 1} {
		cli(t, c, 0, "50.249999 purchased", "account", "get", fmt.Sprintf("acc-%d", i))
	}
	// A run that was cut off goes on where it stopped, and says the same moment.
	state, err := os.ReadFile(file + ".import")
	if err != nil {
		t.Fatal(err)
	}
	cut := regexp.MustCompile(`"done":\d+`).ReplaceAllString(string(state), `"done":3000`)
	if err := os.WriteFile(file+".import", []byte(cut), 0o600); err != nil {
		t.Fatal(err)
	}
	cli(t, c, 1, "5001 entries", "ledger", "import", file)
	if now, err := os.ReadFile(file + ".import"); err != nil || !strings.Contains(string(now), regexp.MustCompile(`"issued_at":"[^"]+"`).FindString(cut)) {
		t.Errorf("%v %s", err, now)
	}
	write("other,k,purchase,5")
	cli(t, c, 1, "the file has changed", "ledger", "import", file)
}

package exchange

import (
	"log/slog"
	"testing"
	"time"

	"quorate/limiter"
	"quorate/limiter/bucket"
)

// lone returns a node that owns one partition, keeps copies of a second, and
// awaits a third.
func lone() *Exchange {
	n := &network{limits: []bucket.Scoped{tokens(1000)}, rule: bucket.Replication{Slack: 5}}
	now := func() time.Duration { return time.Hour }
	e, err := New(Config{Log: slog.New(slog.DiscardHandler), Local: limiter.Config{
		Node: "n1", Rules: n, Now: now, Leases: n, Partitions: 3, Partition: func(account string) int { return (len(account) + 2) % 3 },
		Replication: func() bucket.Replication { return n.rule }, FirstSource: 1 << 32,
		Reservations: limiter.Reservations{TTL: limiter.DefaultTTL, Most: 100, NewID: func(string) string { return "r" }},
	}})
	if err != nil {
		panic(err)
	}
	local := e.Local
	local.Adopt(&limiter.View{Epoch: 1, Nodes: 3, Parts: []limiter.Part{
		{Holders: [3]string{"n1", "n2", "n3"}}, {Holders: [3]string{"n2", "n1", "n3"}}, {Holders: [3]string{"n2", "n1", "n3"}, Moving: true},
	}})
	local.FinishRecovery(1, []int{0})
	return e
}

// FuzzServe: no message makes a node panic or believe in debts that cannot be.
func FuzzServe(f *testing.F) {
	f.Fuzz(func(t *testing.T, message []byte) {
		e := lone()
		_, _ = e.Serve(message)
		for p := range e.Local.Partitions() {
			for _, k := range e.Local.ExportBuckets(p) {
				if k.State.Units < 0 || k.State.Frac < 0 || k.State.Frac >= int64(k.ID.Window) {
					t.Fatalf("%+v", k)
				}
				if k.Sliding == nil {
					continue
				}
				for _, units := range k.Sliding.Units {
					if units < 0 {
						t.Fatalf("%+v", k)
					}
				}
			}
		}
		var d bucket.Decision
		for _, account := range []string{"a", "ab", "abc"} {
			if err := e.Local.Fallback(t.Context(), &bucket.Check{Account: account, Tokens: 1}, &d); err != nil {
				t.Fatal(err)
			}
		}
		e.Local.Sweep()
	})
}

package exchange

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	"quorate/limiter"
	"quorate/limiter/bucket"
)

// maxFrame is the largest message that the connections between nodes carry.
const maxFrame = 2 << 20

// network is nodes n1, n2 and n3 in one process, with two partitions: accounts
// that begin with a, and others.
type network struct {
	nodes  map[string]*Exchange
	limits []bucket.Scoped
	rule   bucket.Replication
	epoch  uint64
	stop   func()

	mu   sync.Mutex
	lost func(from, to string, kind byte) bool // guarded by mu
	seen map[byte]int                          // messages by kind; guarded by mu
}

func tokens(n int64) bucket.Scoped {
	return bucket.NewScoped("llm", bucket.Limit{Unit: bucket.Tokens, Limit: n, Burst: n, Window: time.Minute}, bucket.SourceTier)
}

// newNetwork starts the nodes; n1 owns both partitions.
func newNetwork(t *testing.T, limits ...bucket.Scoped) *network {
	n := &network{nodes: map[string]*Exchange{}, limits: limits, rule: bucket.Replication{Slack: 5}, seen: map[byte]int{}}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	began := time.Now()
	now := func() time.Duration { return time.Since(began) }
	for i := range 3 {
		id := "n" + strconv.Itoa(i+1)
		given := 0
		e, err := New(Config{Transport: link{n, id}, Log: slog.New(slog.DiscardHandler), Local: limiter.Config{
			Node: id, Rules: n, Now: now, Leases: n, Partitions: 2, Partition: partition,
			Replication: func() bucket.Replication { return n.rule }, FirstSource: uint64(i+1) << 32,
			Reservations: limiter.Reservations{TTL: limiter.DefaultTTL, Most: 100, NewID: func(string) string { given++; return fmt.Sprint(id, "-", given) }},
		}})
		if err != nil {
			t.Fatal(err)
		}
		n.nodes[id] = e
		wg.Go(func() { e.Run(ctx) })
	}
	n.stop = func() { cancel(); wg.Wait() }
	t.Cleanup(n.stop)
	n.adopt(false, "n1", "n2", "n3")
	return n
}

func partition(account string) int {
	if account[0] == 'a' {
		return 0
	}
	return 1
}

// adopt makes the nodes adopt the next map, the same for both partitions.
func (n *network) adopt(moving bool, holders ...string) {
	p := limiter.Part{Moving: moving}
	copy(p.Holders[:], holders)
	n.epoch++
	for _, e := range n.nodes {
		e.Local.Adopt(&limiter.View{Epoch: n.epoch, Nodes: 3, Parts: []limiter.Part{p, p}})
		e.Wake()
	}
	n.pass(time.Second)
}

// pass lets time pass, in which what was begun is done.
func (n *network) pass(d time.Duration) { time.Sleep(d) }

// lose has messages lost from now on.
func (n *network) lose(lost func(from, to string, kind byte) bool) {
	n.mu.Lock()
	n.lost = lost
	n.mu.Unlock()
}

func (n *network) Valid(int, time.Duration) bool { return true }
func (n *network) Majority() bool                { return true }
func (n *network) Rule(*bucket.Check) bucket.Ruling {
	return bucket.Ruling{Tier: 1, Category: "llm", Limits: n.limits}
}
func (n *network) Index() uint64                           { return 1 }
func (n *network) WaitIndex(context.Context, uint64) error { return nil }

// link is the network as one node sees it.
type link struct {
	n    *network
	from string
}

var (
	errLost  = errors.New("lost")
	errFrame = errors.New("frame too large")
)

func (l link) Exchange(ctx context.Context, node string, message []byte) ([]byte, error) {
	l.n.mu.Lock()
	l.n.seen[message[0]]++
	lost := l.n.lost != nil && l.n.lost(l.from, node, message[0])
	l.n.mu.Unlock()
	if lost {
		<-ctx.Done()
		return nil, errLost
	}
	if len(message) > maxFrame {
		return nil, errFrame
	}
	time.Sleep(time.Millisecond)
	b, err := l.n.nodes[node].Serve(message)
	if len(b) > maxFrame {
		return nil, errFrame
	}
	return b, err
}

// own makes a node decide a check as the owner.
func (n *network) own(t *testing.T, node string, c bucket.Check) (d bucket.Decision) {
	t.Helper()
	if err := n.nodes[node].Local.Own(t.Context(), &c, &d, false); err != nil {
		t.Fatalf("%s: %+v: %v", node, c, err)
	}
	return d
}

func (n *network) left(t *testing.T, node, account string) int64 {
	t.Helper()
	return n.own(t, node, bucket.Check{Account: account, DryRun: true}).Limits[0].Remaining
}

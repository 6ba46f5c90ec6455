package traffic

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"quorate/testing/chaos/model"
	"quorate/testing/testcluster"
)

const (
	auditors    = 16
	auditWithin = 10 * time.Minute // of an hour's entries
)

// Audit reads from every node what the run recorded: the balances of each account, each
// key, and the hash of the whole state. It must be called after Stop.
func (t *Traffic) Audit(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, auditWithin)
	defer cancel()
	index := uint64(0)
	keys := map[string]map[int]bool{}
	for _, op := range t.rec.history.Ops {
		index = max(index, op.Index)
		if keys[op.Account] == nil {
			keys[op.Account] = map[int]bool{}
		}
		if op.Type != model.Read {
			keys[op.Account][op.Key] = true
		}
	}
	type job struct {
		account string
		keys    map[int]bool
	}
	jobs := make(chan job)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed error
	for range auditors {
		wg.Go(func() {
			for j := range jobs {
				if err := t.audit(ctx, j.account, j.keys, index, &mu); err != nil {
					mu.Lock()
					if failed == nil { // the first is enough
						failed = err
					}
					mu.Unlock()
				}
			}
		})
	}
	for account, k := range keys {
		jobs <- job{account, k}
	}
	close(jobs)
	wg.Wait()
	if failed == nil {
		failed = t.contents(ctx)
	}
	t.rec.history.Audited = failed == nil
	return failed
}

// audit reads one account at every node, and its keys at one node, linearizably.
func (t *Traffic) audit(ctx context.Context, account string, keys map[int]bool, index uint64, mu *sync.Mutex) error {
	path := "/v1/accounts/" + url.PathEscape(account)
	for _, n := range t.cfg.Nodes {
		r, err := n.Do(ctx, "GET", path+"?consistency=strong", nil, testcluster.MinIndex(index))
		if err != nil {
			return err
		}
		if r.Status == 404 {
			continue // no entry of it was applied; validate checks that
		}
		if r.Status != 200 {
			return fmt.Errorf("account %s at %s: %s", account, n.ID, r)
		}
		var a testcluster.Account
		if err := r.JSON(&a); err != nil {
			return err
		}
		f := model.FinalAccount{Node: n.ID, Account: account}
		if err := balances(&a, &f.Balances); err != nil {
			return err
		}
		mu.Lock()
		t.rec.history.Final = append(t.rec.history.Final, f)
		mu.Unlock()
	}
	looked := map[int]uint64{}
	at := t.cfg.Nodes[len(account)%len(t.cfg.Nodes)]
	for key := range keys {
		r, err := at.Do(ctx, "GET", path+"/ledger/"+Key(key), nil, testcluster.MinIndex(index))
		if err != nil {
			return err
		}
		switch r.Status {
		case 404:
			continue
		case 200:
		default:
			return fmt.Errorf("key %d of %s at %s: %s", key, account, at.ID, r)
		}
		var e struct {
			testcluster.Entry
			Wrapped *testcluster.Entry `json:"entry"`
		}
		if err := r.JSON(&e); err != nil {
			return err
		}
		if e.Wrapped != nil {
			e.Entry = *e.Wrapped
		}
		looked[key] = e.Index
	}
	mu.Lock()
	t.rec.history.Looked[account] = looked
	mu.Unlock()
	return nil
}

// contents backs up each node until all hold the same. If they do not in time, validate
// reports it.
func (t *Traffic) contents(ctx context.Context) error {
	for deadline := time.Now().Add(20 * time.Second); ; {
		same := true
		for _, n := range t.cfg.Nodes {
			hash, err := content(ctx, n)
			if err != nil {
				return err
			}
			t.rec.history.Content[n.ID] = hash
			same = same && hash == t.rec.history.Content[t.cfg.Nodes[0].ID]
		}
		if same || time.Now().After(deadline) {
			return nil
		}
		pause(ctx, 200*time.Millisecond)
	}
}

// Same returns an error if nodes do not hold the same in time. All clients must wait.
func (t *Traffic) Same(ctx context.Context, nodes []*testcluster.Node) error {
	for deadline := time.Now().Add(20 * time.Second); ; pause(ctx, 200*time.Millisecond) {
		held := map[string][]string{}
		for _, n := range nodes {
			hash, err := content(ctx, n)
			if err != nil {
				return err
			}
			held[hash] = append(held[hash], n.ID)
		}
		if len(held) == 1 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("nodes hold different states: %v", held)
		}
	}
}

func content(ctx context.Context, n *testcluster.Node) (string, error) {
	r, err := n.Do(ctx, "GET", "/v1/backup", nil)
	if err != nil {
		return "", err
	}
	if r.Status != 200 {
		return "", fmt.Errorf("backup of %s: %s", n.ID, r)
	}
	if r, err = n.Do(ctx, "POST", "/v1/restore?dry_run=true", r.Body); err != nil {
		return "", err
	}
	var c struct {
		Content string `json:"content"`
	}
	if err := r.JSON(&c); err != nil {
		return "", err
	}
	if c.Content == "" {
		return "", fmt.Errorf("a backup of %s looked at: %s", n.ID, r)
	}
	return c.Content, nil
}

// Resources reads the resources of the nodes' processes. It first closes the clients'
// idle connections.
func (t *Traffic) Resources(ctx context.Context) (all []model.Resources, err error) {
	testcluster.CloseIdle()
	for _, n := range t.cfg.Nodes {
		r, err := n.Do(ctx, "GET", "/metrics", nil)
		if err != nil {
			return nil, err
		}
		m := samples(r.Body)
		all = append(all, model.Resources{
			Node: n.ID, Goroutines: m["go_goroutines"], Files: m["process_open_fds"],
			Heap: m["go_memstats_heap_inuse_bytes"], Resident: m["process_resident_memory_bytes"],
		})
	}
	return all, nil
}

// KeepIdle records the resources before the first fault, KeepEnd those at the end.
func (t *Traffic) KeepIdle(all []model.Resources) { t.rec.history.Idle = all }

// KeepEnd is described with KeepIdle.
func (t *Traffic) KeepEnd(all []model.Resources) { t.rec.history.End = all }

// samples reads the metrics without labels.
func samples(text []byte) map[string]float64 {
	out := map[string]float64{}
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		name, value, ok := strings.Cut(s.Text(), " ")
		if v, err := strconv.ParseFloat(value, 64); ok && err == nil && !strings.HasPrefix(name, "#") {
			out[name] = v
		}
	}
	return out
}

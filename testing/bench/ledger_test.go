package bench

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"quorate/testing/testcluster"
)

var ledgerAccounts = flag.Int("ledger", 0, "accounts of the ledger's measurement; 0 skips")

const (
	bulkEntries = 1000 // of one request
	bulkConns   = 6    // over all nodes
)

// TestLedger imports many accounts into three processes in bulk, then writes
// single entries from more and more writers. It prints the targets beside what
// it finds and fails only where an answer is no success.
func TestLedger(t *testing.T) {
	if *ledgerAccounts == 0 {
		t.Skip("skipped: run by make bench-ledger")
	}
	t.Run("Memory", measureState)
	t.Run("Cluster", func(t *testing.T) {
		c := testcluster.Start(t, 3)
		measureImport(t, c, *ledgerAccounts/bulkEntries)
		for _, writers := range []int{64, 128, 256, 512} {
			measureSingle(t, c, writers)
		}
		measureRestart(t, c)
	})
}

// measureImport gives every account one purchase.
func measureImport(t *testing.T, c *testcluster.Cluster, requests int) {
	var next, last, failed atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for conn := range bulkConns {
		node := c.Nodes[conn%len(c.Nodes)]
		wg.Go(func() {
			p := poster{client: &fasthttp.HostClient{Addr: node.HTTP}, uri: node.URL + "/v1/ledger"}
			var body bytes.Buffer
			for {
				n := int(next.Add(1)) - 1
				if n >= requests {
					return
				}
				bulkBody(&body, n)
				index, answer, err := p.post(body.Bytes())
				if err != nil || bytes.Count(answer, []byte(`"status":200`)) != bulkEntries {
					failed.Add(1)
					t.Errorf("request %d at %s: %v, %.300s", n, node.ID, err, answer)
					return
				}
				for was := last.Load(); was < index && !last.CompareAndSwap(was, index); was = last.Load() {
				}
			}
		})
	}
	wg.Wait()
	answered := time.Since(start)
	for _, n := range c.Nodes {
		if r := n.MustDo(t, "GET", "/v1/cluster", nil, testcluster.MinIndex(uint64(last.Load()))); r.Status != 200 {
			t.Fatal(r)
		}
	}
	entries := requests * bulkEntries
	fmt.Printf("bulk: %d entries, %d a request, %d connections: %.1f s, %.0f entries/s (target 150000); on all nodes after %.1f s\n",
		entries, bulkEntries, bulkConns, answered.Seconds(), float64(entries)/answered.Seconds(), time.Since(start).Seconds())
	for _, n := range c.Nodes {
		fmt.Printf("  %s: %s resident, %.1f s of CPU\n", n.ID, size(resident(t, n.PID())), cpuSeconds(t, n.PID()))
	}
}

func bulkBody(to *bytes.Buffer, n int) {
	to.Reset()
	to.WriteString(`{"entries":[`)
	for i := range bulkEntries {
		if i > 0 {
			to.WriteByte(',')
		}
		fmt.Fprintf(to, `{"account":"customer-%07d","key":"import-1","type":"purchase","amount":"25.00"}`, n*bulkEntries+i)
	}
	to.WriteString(`]}`)
}

// measureSingle has writers send one entry a request for a while, over all
// nodes.
func measureSingle(t *testing.T, c *testcluster.Cluster, writers int) {
	var wg sync.WaitGroup
	var failed atomic.Int64
	taken := make([][]time.Duration, writers)
	until := time.Now().Add(*each)
	start := time.Now()
	for w := range writers {
		node := c.Nodes[w%len(c.Nodes)]
		wg.Go(func() {
			p := poster{
				client: &fasthttp.HostClient{Addr: node.HTTP},
				uri:    fmt.Sprintf("%s/v1/accounts/customer-%07d/ledger", node.URL, w),
			}
			for i := 0; time.Now().Before(until); i++ {
				body := fmt.Appendf(nil, `{"key":"%d-%d","type":"usage","amount":"0.000001"}`, writers, i)
				sent := time.Now()
				_, answer, err := p.post(body)
				if err != nil {
					failed.Add(1)
					t.Errorf("entry at %s: %v, %.300s", node.ID, err, answer)
					return
				}
				taken[w] = append(taken[w], time.Since(sent))
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	all := slices.Concat(taken...)
	fmt.Printf("one a request: %d writers: %.0f durable entries/s (target 10000), %s\n", writers, float64(len(all))/took.Seconds(), spread(all))
}

// measureRestart kills a node that does not lead and starts it again.
func measureRestart(t *testing.T, c *testcluster.Cluster) {
	at := (c.Leader() + 1) % len(c.Nodes)
	c.Kill(at)
	c.WaitReady()
	start := time.Now()
	c.Restart(at)
	c.WaitReady()
	n := c.Nodes[at]
	fmt.Printf("restart: %s is ready again after %.1f s, log %s, %s resident\n",
		n.ID, time.Since(start).Seconds(), size(fileSize(t, filepath.Join(n.DataDir, "raft.db"))), size(resident(t, n.PID())))
}

// poster posts over connections of its own.
type poster struct {
	client *fasthttp.HostClient
	uri    string
}

// post returns the index and the body of an answer 200.
func (p *poster) post(body []byte) (index int64, answer []byte, err error) {
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	req.SetRequestURI(p.uri)
	req.Header.SetMethod("POST")
	req.SetBodyRaw(body)
	if err := p.client.DoTimeout(req, resp, 30*time.Second); err != nil {
		return 0, nil, err
	}
	answer = bytes.Clone(resp.Body())
	if resp.StatusCode() != 200 {
		return 0, answer, errors.New(strconv.Itoa(resp.StatusCode()))
	}
	index, err = strconv.ParseInt(string(resp.Header.Peek("X-Quorate-Index")), 10, 64)
	return index, answer, err
}

// spread describes durations, which it sorts.
func spread(d []time.Duration) string {
	if len(d) == 0 {
		return "nothing"
	}
	slices.Sort(d)
	at := func(q float64) time.Duration { return d[int(q*float64(len(d)-1))] }
	return fmt.Sprintf("p50 %s, p99 %s, p99.9 %s, longest %s", at(.5), at(.99), at(.999), d[len(d)-1])
}

// resident returns a process's resident memory in bytes.
func resident(t *testing.T, pid int) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Logf("resident memory: %v", err)
		return 0
	}
	for line := range strings.Lines(string(b)) {
		var kb int64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kb); n == 1 {
			return kb << 10
		}
	}
	return 0
}

// cpuSeconds returns the CPU time that a process has taken.
func cpuSeconds(t *testing.T, pid int) float64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Logf("CPU time: %v", err)
		return 0
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	var ticks float64 // of 10 ms, fields 14 and 15 of the line
	for _, f := range fields[11:13] {
		v, err := strconv.ParseFloat(f, 64)
		if err != nil {
			t.Fatal(err)
		}
		ticks += v
	}
	return ticks / 100
}

func fileSize(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

func size(bytes int64) string { return fmt.Sprintf("%.0f MB", float64(bytes)/1e6) }

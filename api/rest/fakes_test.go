package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/valyala/fasthttp"

	"quorate/fsm/ledger"
	"quorate/limiter/bucket"
)

// node implements all interfaces of a Server in memory and without a log: it applies a
// write at once, at the next index.
type node struct {
	mu       sync.Mutex
	state    *ledger.State
	asked    bucket.Check    // the last check
	decision bucket.Decision // the answer to each check
	err      error           // of Check, Propose and Metrics.Write
	probes   []Probe
	cluster  ClusterStatus
	waited   uint64
	counted  []string // calls of Metrics

	restores int // completed

	newest uint64 // result of ReadIndex
	panics bool   // Check panics

	settlement bucket.Settlement // the last settlement
	settled    bucket.Settled    // the answer to each settlement
	settleErr  error

	admin    string // the node's own admin token
	starting bool   // the node does not know all tokens yet
	secrets  int    // number of secrets created

	trace  bool // record every check
	traced []bucket.Check
}

func (n *node) Check(_ context.Context, c *bucket.Check, d *bucket.Decision) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.panics {
		panic("a bug")
	}
	n.asked = *c
	// Copy the strings: they point into the request.
	n.asked.Account, n.asked.Model, n.asked.Category = string([]byte(c.Account)), string([]byte(c.Model)), string([]byte(c.Category))
	if n.trace {
		n.traced = append(n.traced, n.asked)
	}
	if n.err != nil {
		return n.err
	}
	limits := append(d.Limits, n.decision.Limits...)
	*d = n.decision
	d.Limits = limits
	return nil
}

func (n *node) Version() uint64 { return n.state.Version() }

func (n *node) Propose(_ context.Context, ops []ledger.Op) ([]ledger.Result, uint64, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.err != nil {
		return nil, 0, n.err
	}
	index := n.state.Index() + 1
	return n.state.Apply(index, &ledger.Command{Time: 1, Ops: ops}), index, nil
}

func (n *node) Settle(_ context.Context, s *bucket.Settlement) (bucket.Settled, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.settlement = *s
	return n.settled, n.settleErr
}

func (n *node) ReadIndex(context.Context) (uint64, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return max(n.newest, n.state.Index()), n.err
}

func (n *node) List(q ledger.Query) []*ledger.Account          { return n.state.List(q) }
func (n *node) Entry(account, key string) (ledger.Entry, bool) { return n.state.Entry(account, key) }

func (n *node) Account(id string) *ledger.Account { return n.state.Account(id) }
func (n *node) Table() *ledger.Table              { return n.state.Table() }
func (n *node) Tokens() *ledger.Tokens            { return n.state.Tokens() }
func (n *node) Index() uint64                     { return n.state.Index() }

func (n *node) Audit(before uint64, limit int) ([]ledger.AuditRecord, bool) {
	return n.state.Audit(before, limit)
}

// Authenticate implements Access.
func (n *node) Authenticate(token []byte) (ledger.Caller, bool) {
	if n.admin == "" && n.state.Tokens().Len() == 0 {
		return ledger.Caller{Name: ledger.ActorOpen, Scopes: ledger.ScopeAdmin}, !n.starting
	}
	if n.admin != "" && string(token) == n.admin {
		return ledger.Caller{Name: ledger.ActorNode, Scopes: ledger.ScopeAdmin}, true
	}
	if t := n.state.Tokens().Find(ledger.HashSecret(token)); t != nil {
		return ledger.Caller{Name: t.Name, Scopes: t.Scopes}, true
	}
	return ledger.Caller{}, false
}

func (n *node) Guarded() bool { return n.admin != "" }

func (n *node) secret() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.secrets++
	return fmt.Sprint("secret-", n.secrets)
}

func (n *node) WaitIndex(_ context.Context, index uint64) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.waited = index
	if index > 1000 {
		return ledger.ErrBehind
	}
	n.state.Skip(index)
	return nil
}

func (n *node) Remove(_ context.Context, id, by string) error {
	n.note(fmt.Sprint("remove ", id, by))
	return n.err
}

func (n *node) Transfer(_ context.Context, to string) (string, error) {
	n.note("transfer " + to)
	return "n2", n.err
}

func (n *node) Drain(context.Context) error {
	n.note("drain")
	return n.err
}

func (n *node) Cluster() ClusterStatus { return n.cluster }
func (n *node) Ready() []Probe         { return n.probes }

func (n *node) Freeze() *ledger.Frozen { return n.state.Freeze() }

func (n *node) Restore(_ context.Context, from io.Reader, dry bool, _ string) (ledger.Backup, uint64, error) {
	found, err := ledger.ReadBackup(from, nil)
	n.mu.Lock()
	defer n.mu.Unlock()
	if err != nil || n.err != nil || dry {
		return found, 0, errors.Join(err, n.err)
	}
	n.restores++
	return found, 99, nil
}

func (n *node) Write(w io.Writer) error {
	if n.err != nil {
		return n.err
	}
	_, err := io.WriteString(w, "quorate_checks_total 1\n")
	return err
}

func (n *node) Checked(r bucket.Reason, seconds float64) { n.note(fmt.Sprint(r, " ", seconds >= 0)) }

func (n *node) Entered(t ledger.EntryType, outcome string) { n.note(fmt.Sprint(t, " ", outcome)) }

func (n *node) note(s string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.counted = append(n.counted, s)
}

// newServer returns a server over a new node at log index 7.
func newServer(tb testing.TB) (*Server, *node) {
	tb.Helper()
	st, err := ledger.NewState()
	if err != nil {
		tb.Fatal(err)
	}
	st.Skip(7)
	n := &node{state: st}
	cfg := Config{NodeID: "n1", Checker: n, Settler: n, Reader: n, Proposer: n, View: n, Operator: n, Archive: n, Metrics: n, Access: n, NewSecret: n.secret}
	s, err := New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return s, n
}

// answer is an answer of the server.
type answer struct {
	status int
	header *fasthttp.ResponseHeader
	body   string
}

// get returns a header, in any spelling. Peek would look for Ratelimit.
func (a answer) get(name string) string {
	for k, v := range a.header.All() {
		if string(k) == name {
			return string(v)
		}
	}
	return ""
}

// code returns the code of a problem, or the reason of a decision.
func (a answer) code(tb testing.TB) (code, field string) {
	tb.Helper()
	var v struct{ Code, Reason, Field, Type, Title, Detail string }
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		tb.Fatalf("%s: %v", a.body, err)
	}
	return v.Code + v.Reason, v.Field
}

// ask sends a request to the handler; headers are pairs of name and value.
func ask(s *Server, method, target, body string, headers ...string) answer {
	var ctx fasthttp.RequestCtx
	var req fasthttp.Request
	req.Header.SetMethod(method)
	req.SetRequestURI(target)
	req.SetBodyString(body)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	ctx.Init(&req, nil, nil)
	s.Handler()(&ctx)
	h := &fasthttp.ResponseHeader{}
	ctx.Response.Header.CopyTo(h)
	return answer{ctx.Response.StatusCode(), h, string(ctx.Response.Body())}
}

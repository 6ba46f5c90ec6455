package rest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"quorate/api/wire"
	"quorate/limiter/bucket"
)

// The parameters of BenchmarkEngines.
const (
	engineRounds = 3
	engineTime   = 2 * time.Second // of each engine in each round
	engineConns  = 32
)

// BenchmarkEngines compares fasthttp, which Server uses, with a net/http server that does
// the same work. It sends the same check to both over loopback TCP, in turns. Run it alone:
//
//	go test ./api/rest -run xxx -bench Engines -benchtime 1x
func BenchmarkEngines(b *testing.B) {
	s, _ := hotPath(b, bucket.OK)
	h := &http.Server{Handler: standard{s}, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader}
	engines := []struct {
		name  string
		serve func(net.Listener) error
		stop  func(context.Context) error
	}{
		{"fasthttp", s.Serve, s.Shutdown},
		{"nethttp", h.Serve, h.Shutdown},
	}
	var addrs []string
	for _, e := range engines {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		var done sync.WaitGroup
		done.Go(func() { _ = e.serve(l) }) // each ends with an error of its own
		defer func() {
			if err := e.stop(context.Background()); err != nil {
				b.Error(err)
			}
			done.Wait()
		}()
		addrs = append(addrs, l.Addr().String())
	}
	for b.Loop() {
		for round := range engineRounds {
			rates := make([]float64, len(engines))
			for i, e := range engines {
				rates[i] = load(b, addrs[i])
				b.ReportMetric(rates[i], e.name+"/s")
			}
			b.Logf("round %d: fasthttp %.0f/s, net/http %.0f/s, ratio %.2f", round+1, rates[0], rates[1], rates[0]/rates[1])
			b.ReportMetric(rates[0]/rates[1], "ratio")
		}
	}
}

// load sends requests on keep-alive connections for a while and returns requests/s.
func load(b *testing.B, addr string) float64 {
	start := time.Now()
	var wg sync.WaitGroup
	var mu sync.Mutex
	total := 0
	for range engineConns {
		wg.Go(func() {
			n, err := askUntil(addr, start.Add(engineTime))
			if err != nil {
				b.Error(err)
			}
			mu.Lock()
			total += n
			mu.Unlock()
		})
	}
	wg.Wait()
	return float64(total) / time.Since(start).Seconds()
}

func askUntil(addr string, end time.Time) (n int, err error) {
	request := fmt.Appendf(nil, "POST /v1/check HTTP/1.1\r\nHost: quorate\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(aCheck), aCheck)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	r := bufio.NewReader(c)
	for ; time.Now().Before(end); n++ {
		if _, err := c.Write(request); err != nil {
			return n, err
		}
		if err := readAnswer(r); err != nil {
			return n, err
		}
	}
	return n, nil
}

// readAnswer reads one answer of 200 with as little work as possible, because the load
// generator shares the processors with the server.
func readAnswer(r *bufio.Reader) error {
	length := -1
	for first := true; ; first = false {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if first && !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
			return fmt.Errorf("answer %q", line)
		}
		if v, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(v))); err != nil {
				return err
			}
		}
		if len(bytes.TrimSpace(line)) == 0 {
			break
		}
	}
	if length < 0 {
		return fmt.Errorf("answer without a length")
	}
	_, err := r.Discard(length)
	return err
}

// standard answers checks like Server, but over net/http, with the same pooled memory,
// scanner and writer, and headers set without canonicalizing. It omits everything that an
// allowed check does not need.
type standard struct{ s *Server }

func (h standard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	if r.Method != http.MethodPost || r.URL.EscapedPath() != "/v1/check" || r.ContentLength < 0 || r.ContentLength > wire.MaxBody {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	c := h.s.calls.Get().(*call)
	defer h.s.calls.Put(c)
	if int64(cap(c.body)) < r.ContentLength {
		c.body = make([]byte, r.ContentLength)
	}
	c.body = c.body[:r.ContentLength]
	if _, err := io.ReadFull(r.Body, c.body); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.scanner.Reset(c.body)
	q := &c.request
	if err := q.Parse(&c.scanner); err != nil || r.Header.Get(wire.HeaderMinIndex) != "" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.check = bucket.Check{Account: q.Account, Model: q.Model, Category: q.Category, Requests: q.Requests, Tokens: q.Tokens}
	d := &c.decision
	*d = bucket.Decision{Limits: d.Limits[:0], Hit: -1}
	if err := h.s.cfg.Checker.Check(r.Context(), &c.check, d); err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	h.s.cfg.Metrics.Checked(d.Reason, time.Since(start).Seconds())
	header := w.Header()
	header["Cache-Control"], header["Content-Type"] = []string{"no-store"}, []string{wire.TypeJSON}
	header[wire.HeaderIndex] = []string{strconv.FormatUint(d.Index, 10)}
	c.value = wire.AppendRateLimitPolicy(c.value[:0], d.Limits)
	header[wire.HeaderRateLimitPolicy] = []string{string(c.value)}
	c.value = wire.AppendRateLimit(c.value[:0], d)
	header[wire.HeaderRateLimit] = []string{string(c.value)}
	// Into value, because body holds the strings of the check.
	c.value = wire.AppendDecision(c.value[:0], c.check.Account, h.s.cfg.NodeID, d)
	header["Content-Length"] = []string{strconv.Itoa(len(c.value))}
	w.WriteHeader(statuses[d.Reason])
	_, _ = w.Write(c.value)
}

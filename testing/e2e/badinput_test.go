package e2e

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"quorate/testing/testcluster"
)

// wantProblem checks that an answer is the problem of the contract.
func wantProblem(t testing.TB, what string, r *testcluster.Reply, status int, code, field string) {
	t.Helper()
	var p testcluster.Problem
	if err := r.JSON(&p); err != nil {
		t.Errorf("%s: %s: %v", what, r, err)
		return
	}
	if r.Status != status || p.Status != status || p.Code != code || p.Field != field || p.Type == "" || p.Title == "" || p.Detail == "" {
		t.Errorf("%s: %s; want %d %s, field %q", what, r, status, code, field)
	}
	if got := r.Header.Get("Content-Type"); !strings.HasPrefix(got, "application/problem+json") {
		t.Errorf("%s: Content-Type %q", what, got)
	}
	if got := r.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("%s: Cache-Control %q", what, got)
	}
	if r.Index() == 0 {
		t.Errorf("%s: no X-Quorate-Index", what)
	}
}

type badRequest struct {
	name   string
	body   string
	status int
	code   string
	field  string
}

// testBadInput: the exact problem for each, and a node that stays alive.
func testBadInput(t *testing.T, c *testcluster.Cluster) {
	long := strings.Repeat("a", 5000)
	check := func(members string) string { return `{"account":"acme","category":"llm"` + members + `}` }
	invalid := func(name, body, field string) badRequest {
		return badRequest{name, body, 400, "invalid_request", field}
	}
	checks := []badRequest{
		invalid("nothing", ``, ""),
		invalid("white space", " \n", ""),
		invalid("half an object", `{`, ""),
		invalid("an array", `[]`, ""),
		invalid("a string", `"acme"`, ""),
		invalid("null", `null`, ""),
		invalid("no JSON", `account=acme`, ""),
		invalid("single quotes", `{'account':'acme'}`, ""),
		invalid("bytes after it", check("")+` x`, ""),
		invalid("two documents", check("")+check(""), ""),
		invalid("a comma too many", check(","), ""),
		invalid("an unknown field", check(`,"colour":"red"`), "colour"),
		invalid("a field in capitals", `{"Account":"acme","category":"llm"}`, "Account"),
		invalid("a repeated field", check(`,"account":"acme"`), "account"),
		invalid("a repeated field, escaped", check(`,"\u0061ccount":"acme"`), "account"),
		invalid("no account", `{"category":"llm"}`, "account"),
		invalid("account null", `{"account":null,"category":"llm"}`, "account"),
		invalid("account empty", `{"account":"","category":"llm"}`, "account"),
		invalid("account a number", `{"account":7,"category":"llm"}`, "account"),
		invalid("account an object", `{"account":{},"category":"llm"}`, "account"),
		invalid("account with a space", `{"account":"a b","category":"llm"}`, "account"),
		invalid("account with a slash", `{"account":"a/b","category":"llm"}`, "account"),
		invalid("account with a letter not ASCII", `{"account":"é","category":"llm"}`, "account"),
		invalid("account with a zero byte", `{"account":"a\u0000","category":"llm"}`, "account"),
		invalid("account starting with a dash", `{"account":"-a","category":"llm"}`, "account"),
		invalid("account of 129 bytes", `{"account":"`+long[:129]+`","category":"llm"}`, "account"),
		invalid("account of 5000 bytes", `{"account":"`+long+`","category":"llm"}`, "account"),
		invalid("neither model nor category", `{"account":"acme"}`, "model"),
		invalid("model with a space", `{"account":"acme","model":"a b"}`, "model"),
		invalid("model of 257 bytes", `{"account":"acme","model":"`+long[:257]+`"}`, "model"),
		invalid("category with a space", `{"account":"acme","category":"l m"}`, "category"),
		invalid("category of 65 bytes", `{"account":"acme","category":"`+long[:65]+`"}`, "category"),
		invalid("requests below 0", check(`,"requests":-1`), "requests"),
		invalid("requests above 1e9", check(`,"requests":1000000001`), "requests"),
		invalid("requests huge", check(`,"requests":99999999999999999999999999`), "requests"),
		invalid("requests 1.0", check(`,"requests":1.0`), "requests"),
		invalid("requests 1e3", check(`,"requests":1e3`), "requests"),
		invalid("requests a string", check(`,"requests":"1"`), "requests"),
		invalid("requests true", check(`,"requests":true`), "requests"),
		invalid("requests 01", check(`,"requests":01`), ""), // no JSON
		invalid("tokens below 0", check(`,"tokens":-1`), "tokens"),
		invalid("tokens above 1e9", check(`,"tokens":1000000001`), "tokens"),
		invalid("tokens 0.5", check(`,"tokens":0.5`), "tokens"),
		invalid("dry_run a string", check(`,"dry_run":"true"`), "dry_run"),
		invalid("dry_run 1", check(`,"dry_run":1`), "dry_run"),
		{"a category nobody knows", `{"account":"acme","category":"video"}`, 404, "unknown_model", "category"},
		{"a model nobody knows", `{"account":"acme","model":"nobody/knows"}`, 404, "unknown_model", "model"},
		{"more than 1 MiB", `{"account":"` + strings.Repeat("a", 1<<20) + `"}`, 413, "too_large", ""},
	}
	entry := func(members string) string { return `{"key":"k","type":"purchase"` + members + `}` }
	entries := []badRequest{
		invalid("nothing", ``, ""),
		invalid("an array", `[]`, ""),
		invalid("no amount", entry(""), "amount"),
		invalid("amount null", entry(`,"amount":null`), "amount"),
		invalid("amount a number", entry(`,"amount":5`), "amount"),
		invalid("amount a float", entry(`,"amount":5.00`), "amount"),
		invalid("amount zero", entry(`,"amount":"0"`), "amount"),
		invalid("amount zero to the cent", entry(`,"amount":"0.00"`), "amount"),
		invalid("amount below zero", entry(`,"amount":"-5"`), "amount"),
		invalid("amount with a sign", entry(`,"amount":"+5"`), "amount"),
		invalid("amount with a comma", entry(`,"amount":"5,00"`), "amount"),
		invalid("amount with a leading zero", entry(`,"amount":"05"`), "amount"),
		invalid("amount with ten decimals", entry(`,"amount":"5.0000000001"`), "amount"),
		invalid("amount with a dollar sign", entry(`,"amount":"$5"`), "amount"),
		invalid("amount with an exponent", entry(`,"amount":"1e3"`), "amount"),
		invalid("amount empty", entry(`,"amount":""`), "amount"),
		invalid("amount a word", entry(`,"amount":"five"`), "amount"),
		invalid("amount above a billion", entry(`,"amount":"1000000000.000001"`), "amount"),
		invalid("amount of a thousand digits", entry(`,"amount":"`+strings.Repeat("9", 1000)+`"`), "amount"),
		invalid("no key", `{"type":"purchase","amount":"5"}`, "key"),
		invalid("key empty", `{"key":"","type":"purchase","amount":"5"}`, "key"),
		invalid("key a number", `{"key":1,"type":"purchase","amount":"5"}`, "key"),
		invalid("key with a line break", `{"key":"a\nb","type":"purchase","amount":"5"}`, "key"),
		invalid("key of 129 bytes", `{"key":"`+long[:129]+`","type":"purchase","amount":"5"}`, "key"),
		invalid("no type", `{"key":"k","amount":"5"}`, "type"),
		invalid("a type nobody knows", `{"key":"k","type":"gift","amount":"5"}`, "type"),
		invalid("a type in capitals", `{"key":"k","type":"Purchase","amount":"5"}`, "type"),
		invalid("an unknown field", entry(`,"amount":"5","currency":"EUR"`), "currency"),
		invalid("a repeated field", entry(`,"amount":"5","amount":"5"`), "amount"),
		{"more than 1 MiB", `{"key":"` + strings.Repeat("a", 1<<20) + `"}`, 413, "too_large", ""},
	}
	bulk := []badRequest{
		invalid("nothing", ``, ""),
		invalid("no entries", `{}`, "entries"),
		invalid("an empty list", `{"entries":[]}`, "entries"),
		invalid("entries an object", `{"entries":{}}`, "entries"),
		invalid("an unknown field", `{"entries":[{}],"x":1}`, "x"),
	}
	patches := []badRequest{
		invalid("nothing", ``, ""),
		invalid("an unknown field", `{"plann":"scale"}`, "plann"),
		invalid("a plan nobody knows", `{"plan":"gold"}`, "plan"),
		invalid("a plan that is a number", `{"plan":1}`, "plan"),
	}
	// Most parsing does not depend on the node, so each is asked one of them.
	asked := 0
	next := func() *testcluster.Node { asked++; return c.Nodes[asked%len(c.Nodes)] }
	for _, group := range []struct {
		method, path string
		requests     []badRequest
	}{
		{"POST", "/v1/check", checks},
		{"POST", "/v1/accounts/bad-input/ledger", entries},
		{"POST", "/v1/ledger", bulk},
		{"PATCH", "/v1/accounts/bad-input", patches},
	} {
		for _, b := range group.requests {
			r := next().MustDo(t, group.method, group.path, b.body)
			wantProblem(t, group.method+" "+group.path+", "+b.name, r, b.status, b.code, b.field)
		}
	}

	// Paths, methods and headers.
	for _, b := range []struct {
		method, path string
		status       int
		code, field  string
		allow        string
	}{
		{"GET", "/", 404, "not_found", "", ""},
		{"GET", "/v1", 404, "not_found", "", ""},
		{"GET", "/v1/nothing", 404, "not_found", "", ""},
		{"GET", "/v1/check/", 404, "not_found", "", ""},
		{"POST", "/V1/check", 404, "not_found", "", ""},
		{"GET", "/v1/accounts//ledger", 404, "not_found", "", ""},
		{"GET", "/v1/check", 405, "method_not_allowed", "", "POST"},
		{"DELETE", "/v1/check", 405, "method_not_allowed", "", "POST"},
		{"POST", "/v1/policy", 405, "method_not_allowed", "", "GET, HEAD, PUT"},
		{"POST", "/v1/cluster", 405, "method_not_allowed", "", "GET, HEAD"},
		{"PUT", "/v1/accounts/acme", 405, "method_not_allowed", "", "GET, HEAD, PATCH, DELETE"},
		{"POST", "/livez", 405, "method_not_allowed", "", "GET, HEAD"},
		{"GET", "/v1/accounts/-acme", 400, "invalid_request", "account", ""},
		{"GET", "/v1/accounts/a%20b", 400, "invalid_request", "account", ""},
		{"GET", "/v1/accounts/a%2Fb", 400, "invalid_request", "account", ""},
		{"GET", "/v1/accounts/" + long[:129], 400, "invalid_request", "account", ""},
		{"GET", "/v1/accounts/nobody-at-all", 404, "unknown_account", "", ""},
	} {
		r := next().MustDo(t, b.method, b.path, nil)
		what := b.method + " " + b.path
		wantProblem(t, what, r, b.status, b.code, b.field)
		if got := r.Header.Get("Allow"); got != b.allow {
			t.Errorf("%s: Allow %q, want %q", what, got, b.allow)
		}
	}
	for _, v := range []string{"", "x", "-1", "1.5", "0x10", "99999999999999999999", "1 2"} {
		r := next().MustDo(t, "POST", "/v1/check", check(""), func(r *http.Request) { r.Header.Set("X-Quorate-Min-Index", v) })
		wantProblem(t, "X-Quorate-Min-Index "+v, r, 400, "invalid_request", "X-Quorate-Min-Index")
	}

	// What is odd and allowed.
	account := buy(t, c, "5")
	for name, body := range map[string]string{
		"nulls":                `{"account":"` + account + `","model":null,"category":"llm","requests":null,"tokens":null,"dry_run":null}`,
		"white space":          " {\r\n\t\"account\" : \"" + account + "\" , \"category\":\"llm\" } \n",
		"escapes":              `{"\u0061ccount":"` + account + `","category":"\u006clm"}`,
		"a cost of 0":          `{"account":"` + account + `","category":"llm","requests":0}`,
		"tokens nobody counts": `{"account":"` + account + `","category":"llm","tokens":1000000000}`,
	} {
		if r := next().MustDo(t, "POST", "/v1/check", body); r.Status != 200 {
			t.Errorf("%s: %s", name, r)
		}
	}
	r := next().MustDo(t, "POST", "/v1/check", costing(account, "llm", 1), func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") })
	if r.Status != 200 {
		t.Errorf("any Content-Type: %s", r)
	}

	// None of it left anything behind.
	for _, n := range c.Nodes {
		wantProblem(t, "the account of the bad entries", n.MustDo(t, "GET", "/v1/accounts/bad-input", nil), 404, "unknown_account", "")
	}
	alive(t, c)
}

// testGarbage: bytes that are no HTTP, and requests that never end.
func testGarbage(t *testing.T, c *testcluster.Cluster) {
	for i, raw := range []string{
		"\x00\x01\x02\x03",
		"hello\r\n\r\n",
		"GET\r\n\r\n",
		"POST /v1/check HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
		"POST /v1/check HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
		"POST /v1/check HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
		"POST /v1/check HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"GET /livez HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X-A: "+strings.Repeat("a", 1000)+"\r\n", 200) + "\r\n",
		"GET /" + strings.Repeat("a", 100_000) + " HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		node := c.Nodes[i%len(c.Nodes)]
		for _, addr := range []string{node.HTTP, node.Peer, node.Gossip} {
			conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
			if err != nil {
				t.Errorf("dial %s: %v", addr, err)
				continue
			}
			_, _ = conn.Write([]byte(raw)) // the node may have hung up already
			_ = conn.Close()               // likewise
		}
		if udp, err := net.Dial("udp", node.Gossip); err == nil {
			_, _ = udp.Write([]byte(raw)) // nobody promises to read it
			_ = udp.Close()
		}
	}
	alive(t, c)
}

// alive wants the processes to run and to decide.
func alive(t *testing.T, c *testcluster.Cluster) {
	t.Helper()
	for _, n := range c.Nodes {
		if !n.Running() {
			t.Fatalf("%s died", n.ID)
		}
		n.Check(t, testcluster.Check{Account: "acme", Category: "llm"})
	}
}

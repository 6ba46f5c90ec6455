package rest

import (
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"quorate/fsm/ledger"
)

func TestRouterAnswersWhatIsNotThere(t *testing.T) {
	s, _ := newServer(t)
	for _, path := range []string{
		"/", "/v1", "/v1/", "/v1/check/", "//v1/check", "/v1//check", "/v2/check", "/V1/check", "/v1/accounts/", "/v1/accounts/a/",
		"/v1/accounts//ledger", "/v1/accounts/a/ledger/k/l", "/v1/accounts/a/b", "/v1/settle/", "/v1/authz/",
		"/v1/backups", "/openapi.yml", "/livez/", "/v1%2Fcheck", "/v1/accounts/../check", "/v1/./check", "/v1/cluster/nodes/n1", "/%zz",
	} {
		for _, method := range []string{"GET", "POST"} {
			a := ask(s, method, path, "")
			if code, _ := a.code(t); a.status != 404 || code != "not_found" || a.get("Content-Type") != "application/problem+json" {
				t.Errorf("%s %s: %d %s", method, path, a.status, a.body)
			}
			if a.get("X-Quorate-Index") != "7" || a.get("Cache-Control") != "no-store" {
				t.Errorf("%s %s: %s", method, path, a.header)
			}
		}
	}
}

func TestRouterRefusesMethods(t *testing.T) {
	s, _ := newServer(t)
	for path, allow := range map[string]string{
		"/v1/check": "POST", "/v1/accounts/a": "GET, HEAD, PATCH, DELETE", "/v1/accounts": "GET, HEAD", "/v1/settle": "POST", "/v1/accounts/a/ledger": "POST", "/v1/ledger": "POST",
		"/v1/policy": "GET, HEAD, PUT", "/v1/cluster": "GET, HEAD", "/livez": "GET, HEAD", "/readyz": "GET, HEAD", "/metrics": "GET, HEAD",
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS", "TRACE", "get", "BREW"} {
			if strings.Contains(allow, method) {
				continue
			}
			a := ask(s, method, path, "{}")
			if code, _ := a.code(t); a.status != 405 || code != "method_not_allowed" || a.get("Allow") != allow {
				t.Errorf("%s %s: %d, Allow %q", method, path, a.status, a.get("Allow"))
			}
		}
	}
}

func TestRouterDecodesSegmentsOnce(t *testing.T) {
	s, _ := newServer(t)
	for _, path := range []string{"/v1/accounts/a%3Ab%40c", "/v1/accounts/a:b@c", "/v1/%61ccounts/a:b%40c?x=y"} {
		if a := ask(s, "PATCH", path, "{}"); a.status != 200 || !strings.HasPrefix(a.body, `{"id":"a:b@c"`) {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	for _, path := range []string{
		"/v1/accounts/a%2Fledger", "/v1/accounts/a%2fb", "/v1/accounts/%61%2562", "/v1/accounts/a%", "/v1/accounts/a%zz", "/v1/accounts/a%00",
		"/v1/accounts/a+b", "/v1/accounts/a%20b", "/v1/accounts/-a", "/v1/accounts/%2e%2e", "/v1/accounts/..", "/v1/accounts/" + strings.Repeat("a", 129),
	} {
		for _, method := range []string{"GET", "PATCH"} {
			a := ask(s, method, path, "{}")
			if code, field := a.code(t); a.status != 400 || code != "invalid_request" || field != "account" {
				t.Errorf("%s %s: %d %s", method, path, a.status, a.body)
			}
		}
	}
}

func TestMinIndex(t *testing.T) {
	s, n := newServer(t)
	for _, v := range []string{"", " ", "-1", "+1", "x", "1x", "1.0", "0x1", "1_0", "18446744073709551616"} {
		for _, path := range []string{"/v1/check", "/v1/ledger"} {
			a := ask(s, "POST", path, aCheck, "X-Quorate-Min-Index", v)
			if code, field := a.code(t); a.status != 400 || code != "invalid_request" || field != "X-Quorate-Min-Index" {
				t.Errorf("%s with %q: %d %s", path, v, a.status, a.body)
			}
		}
	}
	if a := ask(s, "GET", "/v1/policy", "", "X-Quorate-Min-Index", "7"); a.status != 200 || n.waited != 0 {
		t.Errorf("an index applied: %d, waited for %d", a.status, n.waited)
	}
	if a := ask(s, "GET", "/v1/policy", "", "X-Quorate-Min-Index", "12"); a.status != 200 || n.waited != 12 || a.get("X-Quorate-Index") != "12" {
		t.Errorf("an index to wait for: %d, waited for %d, index %s", a.status, n.waited, a.get("X-Quorate-Index"))
	}
	a := ask(s, "GET", "/v1/policy", "", "X-Quorate-Min-Index", "18446744073709551615")
	if code, _ := a.code(t); a.status != 503 || code != "behind" {
		t.Errorf("an index out of reach: %d %s", a.status, a.body)
	}
}

func TestStrongReadsWaitForWhatAMajorityHas(t *testing.T) {
	s, n := newServer(t)
	n.newest = 12
	for _, method := range []string{"GET", "HEAD"} {
		if a := ask(s, method, "/v1/policy?consistency=strong", ""); a.status != 200 || n.waited != 12 {
			t.Errorf("%s: %d, waited for %d", method, a.status, n.waited)
		}
	}
	for _, v := range []string{"weak", "", "Strong"} {
		a := ask(s, "GET", "/v1/policy?consistency="+v, "")
		if _, field := a.code(t); a.status != 400 || field != "consistency" {
			t.Errorf("%q: %d %s", v, a.status, a.body)
		}
	}
	n.err = fmt.Errorf("read index: %w", ledger.ErrNoQuorum)
	a := ask(s, "GET", "/v1/policy?consistency=strong", "")
	if code, _ := a.code(t); a.status != 503 || code != "no_quorum" {
		t.Errorf("without a majority: %d %s", a.status, a.body)
	}
}

// A panic fails its request, or its check of a batch, not the connection.
func TestAPanicFailsOnlyItsRequest(t *testing.T) {
	s, n := newServer(t)
	var log strings.Builder
	s.log = slog.New(slog.NewTextHandler(&log, nil))
	n.panics = true
	a := ask(s, "POST", "/v1/check", aCheck)
	if code, _ := a.code(t); a.status != 500 || code != "internal" || a.get("X-Quorate-Index") != "7" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if !strings.Contains(log.String(), "a bug") || !strings.Contains(log.String(), "fakes_test.go") {
		t.Errorf("logged without a stack: %s", log.String())
	}
	a = ask(s, "POST", "/v1/check/batch", `{"checks":[`+aCheck+`,`+aCheck+`]}`)
	if a.status != 200 || strings.Count(a.body, `"status":500`) != 2 || strings.Count(a.body, `"code":"internal"`) != 2 {
		t.Errorf("batch: %d %s", a.status, a.body)
	}
	addr := serve(t, s)
	one := fmt.Sprintf("POST /v1/check HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(aCheck), aCheck)
	last := "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	if got := raw(t, addr, one+one+last); strings.Count(got, "HTTP/1.1 500 ") != 2 || !strings.Contains(got, "HTTP/1.1 200 OK") {
		t.Errorf("the connection did not survive: %s", got)
	}
}

// The document describes exactly the routes.
func TestOpenAPINamesEveryRoute(t *testing.T) {
	s, _ := newServer(t)
	var doc struct {
		Paths      map[string]map[string]any
		Components map[string]map[string]any
	}
	a := ask(s, "GET", "/openapi.yaml", "")
	if err := yaml.Unmarshal([]byte(a.body), &doc); err != nil {
		t.Fatal(err)
	}
	for _, ref := range regexp.MustCompile(`#/components/(\w+)/(\w+)`).FindAllStringSubmatch(a.body, -1) {
		if doc.Components[ref[1]][ref[2]] == nil {
			t.Errorf("nothing is at %s", ref[0])
		}
	}
	blank := regexp.MustCompile(`{\w+}`)
	named := map[string]bool{"/v1/authz GET": true, "/v1/check POST": true}
	for i := range routes {
		for _, m := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
			if routes[i].handler(m) != nil {
				named[routes[i].path+" "+m] = true
			}
		}
	}
	for path, methods := range doc.Paths {
		for m, op := range methods {
			key := blank.ReplaceAllString(path, "{}") + " " + strings.ToUpper(m)
			if !named[key] {
				t.Errorf("%s is in the document only", key)
			}
			delete(named, key)
			method, pattern, _ := strings.Cut(strings.ToUpper(m)+" "+blank.ReplaceAllString(path, "{}"), " ")
			r, _ := find(pattern)
			want := "[check admin]" // for the two routes that find does not return
			if pattern != "/v1/check" && pattern != "/v1/authz" {
				want = fmt.Sprint((r.scope(method) | ledger.ScopeAdmin).Names())
			}
			if got := fmt.Sprint(op.(map[string]any)["x-scopes"]); got != want && !(r != nil && r.open) {
				t.Errorf("%s: the document wants the scopes %s, the server %s", key, got, want)
			}
		}
	}
	for key := range named {
		t.Errorf("%s is not in the document", key)
	}
}

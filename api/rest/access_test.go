package rest

import (
	"fmt"
	"strings"
	"testing"

	"quorate/fsm/ledger"
)

// permissions lists the scopes that each route accepts besides admin. A route that is
// missing here fails the test.
var permissions = map[string]string{
	"POST /v1/check":                       "check",
	"GET /v1/authz":                        "check",
	"POST /v1/authz":                       "check",
	"POST /v1/check/batch":                 "check",
	"POST /v1/settle":                      "check",
	"POST /v1/release":                     "check",
	"GET /v1/explain":                      "check read",
	"GET /v1/accounts":                     "read",
	"GET /v1/accounts/{}":                  "read",
	"PATCH /v1/accounts/{}":                "",
	"DELETE /v1/accounts/{}":               "",
	"POST /v1/accounts/{}/ledger":          "ledger",
	"GET /v1/accounts/{}/ledger/{}":        "ledger read",
	"POST /v1/ledger":                      "ledger",
	"GET /v1/policy":                       "read",
	"PUT /v1/policy":                       "",
	"POST /v1/policy/validate":             "read",
	"GET /v1/tokens":                       "",
	"POST /v1/tokens":                      "",
	"GET /v1/tokens/{}":                    "",
	"DELETE /v1/tokens/{}":                 "",
	"GET /v1/audit":                        "",
	"GET /v1/cluster":                      "read",
	"POST /v1/cluster/nodes/{}/remove":     "",
	"POST /v1/cluster/transfer-leadership": "",
	"POST /v1/cluster/drain":               "",
	"GET /v1/backup":                       "",
	"POST /v1/restore":                     "",
	"GET /livez":                           "all",
	"GET /readyz":                          "all",
	"GET /metrics":                         "read",
	"GET /openapi.yaml":                    "check ledger read",
	"GET /nothing/here":                    "check ledger read",
	"DELETE /v1/check":                     "check ledger read", // answered 405
	"POST /v1/cluster":                     "check ledger read",
	"GET /v1/accounts/{}/ledger/{}/{}":     "check ledger read",
	"POST /v1/accounts/a%2Fledger":         "check ledger read", // an invalid account, not the path of the ledger
	"POST /v1/%63heck":                     "check ledger read",
	"POST //v1/check":                      "check ledger read",
	"GET /v1/tokens/../accounts/{}":        "check ledger read",
	"GET /%6Civez":                         "all",
	"GET /livez?/v1/tokens":                "all",
	"POST /v1/check?/livez":                "check",
	"POST /v1/accounts/{}/ledger?livez":    "ledger",
}

// guardedServer returns a server with a token for each scope, whose secret is the name of
// the scope, and with an admin token of its own.
func guardedServer(t testing.TB) (*Server, *node) {
	t.Helper()
	s, n := newServer(t)
	n.admin = "own"
	for _, scope := range []string{"check", "ledger", "read", "admin"} {
		bit, _ := ledger.ParseScope(scope)
		tok := &ledger.Token{Name: scope, Scopes: bit, Hash: ledger.HashSecret([]byte(scope))}
		n.state.Apply(n.state.Index()+1, &ledger.Command{Ops: []ledger.Op{{Kind: ledger.OpToken, Token: tok}}})
	}
	return s, n
}

func TestEveryRouteWantsItsScope(t *testing.T) {
	s, _ := guardedServer(t)
	for i := range routes {
		for _, m := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
			r := &routes[i]
			if r.handler(m) == nil {
				continue
			}
			if _, ok := permissions[m+" "+r.path]; !ok {
				t.Errorf("%s %s: no permissions", m, r.path)
			}
			if !r.open && r.scope(m) == 0 {
				t.Errorf("%s %s has no scope", m, r.path)
			}
		}
	}
	for key, scopes := range permissions {
		method, path, _ := strings.Cut(key, " ")
		path = strings.ReplaceAll(path, "{}", "x")
		methods := []string{method}
		if method == "GET" {
			methods = append(methods, "HEAD")
		}
		for _, method := range methods {
			for _, token := range []string{"", "wrong", "check", "ledger", "read", "admin", "own"} {
				for _, header := range [][2]string{{"Authorization", "Bearer " + token}, {"X-Quorate-Token", token}, {"Authorization", "bearer  " + token}} {
					a := ask(s, method, path, "{}", header[0], header[1])
					want := 0 // anything else
					switch {
					case scopes == "all":
					case token == "" || token == "wrong":
						want = 401
					case token == "admin" || token == "own" || strings.Contains(" "+scopes+" ", " "+token+" "):
					default:
						want = 403
					}
					got := a.status
					if got != 401 && (got != 403 || !strings.Contains(a.body, "insufficient_scope")) {
						got = 0
					}
					if got != want {
						t.Errorf("%s %s with %s %q: %d %s, want %d", method, path, header[0], header[1], a.status, a.body, want)
					}
					if want == 0 {
						continue
					}
					if !strings.HasPrefix(a.get("WWW-Authenticate"), "Bearer ") || a.get("Cache-Control") != "no-store" || a.get("X-Quorate-Index") == "" {
						t.Errorf("%s %s: %s", method, path, a.header)
					}
					kind := "application/problem+json"
					if strings.HasPrefix(path, "/v1/authz") {
						kind = "application/json" // the gateway passes it on to its customer
					}
					if a.get("Content-Type") != kind || strings.Contains(a.body, "wrong") {
						t.Errorf("%s %s: %s %s", method, path, a.get("Content-Type"), a.body)
					}
				}
			}
		}
	}
}

func TestTheOwnHeaderWinsOverAuthorization(t *testing.T) {
	s, _ := guardedServer(t)
	for _, tt := range []struct {
		own, authorization string
		status             int
	}{
		{"read", "Bearer the end user's", 200},
		{"wrong", "Bearer read", 401},
		{"", "Bearer read", 200},
		{"", "Basic cmVhZDo=", 401},
		{"", "read", 401},
		{"", "Bearer", 401},
	} {
		a := ask(s, "GET", "/v1/policy", "", "X-Quorate-Token", tt.own, "Authorization", tt.authorization)
		if a.status != tt.status {
			t.Errorf("%q and %q: %d %s", tt.own, tt.authorization, a.status, a.body)
		}
	}
	if a := ask(s, "GET", "/v1/authz?account=a&category=llm&deny=403", ""); a.status != 403 || a.get("X-Quorate-Status") != "401" {
		t.Errorf("a gateway that knows only 403: %d %s", a.status, a.header)
	}
}

func TestOpenWithoutTokens(t *testing.T) {
	s, n := newServer(t)
	if a := ask(s, "GET", "/v1/tokens", ""); a.status != 200 || a.body != `{"tokens":[]}` {
		t.Errorf("%d %s", a.status, a.body)
	}
	n.starting = true
	a := ask(s, "GET", "/v1/policy", "")
	if code, _ := a.code(t); a.status != 503 || code != "unavailable" {
		t.Errorf("before it knows the tokens: %d %s", a.status, a.body)
	}
	if a := ask(s, "GET", "/livez", ""); a.status != 200 {
		t.Errorf("livez: %d", a.status)
	}
}

// Creating the first token closes the API to callers without one.
func TestTokensOverHTTP(t *testing.T) {
	s, n := newServer(t)
	for _, tt := range []struct {
		token, method, path, body string
		status                    int
		want                      string
	}{
		{"", "POST", "/v1/tokens", `{"name":"gate","scopes":["check"]}`, 409, `"code":"last_admin"`},
		{"", "POST", "/v1/tokens", `{"name":"root","scopes":["admin"]}`, 200, `{"name":"root","scopes":["admin"],"secret":"secret-2"}`},
		{"", "POST", "/v1/tokens", `{"name":"more","scopes":["admin"]}`, 401, ""},
		{"secret-2", "POST", "/v1/tokens", `{"name":"gate","scopes":["read","check"]}`, 200, `{"name":"gate","scopes":["check","read"],"secret":"secret-3"}`},
		{"secret-2", "POST", "/v1/tokens", `{"name":"gate","scopes":["check"]}`, 409, `"code":"token_exists"`},
		{"secret-3", "GET", "/v1/policy", "", 200, `"revision":1`},
		{"secret-3", "GET", "/v1/tokens", "", 403, ""},
		{"secret-2", "GET", "/v1/tokens/gate", "", 200, `{"name":"gate","scopes":["check","read"],"created_at":"1970-01-01T00:00:00.001Z"}`},
		{"secret-2", "GET", "/v1/tokens/nobody", "", 404, `"code":"not_found"`},
		{"secret-2", "GET", "/v1/tokens/-", "", 400, `"field":"name"`},
		{"secret-2", "DELETE", "/v1/tokens/root", "", 409, `"code":"last_admin"`},
		{"secret-2", "DELETE", "/v1/tokens/gate", "", 204, ""},
		{"secret-3", "GET", "/v1/policy", "", 401, ""},
		{"secret-2", "DELETE", "/v1/tokens/gate", "", 404, `"code":"not_found"`},
		{"secret-2", "PUT", "/v1/policy", string(n.state.Table().Doc), 200, `"revision":2`},
		{"secret-2", "PATCH", "/v1/accounts/acme", `{"overrides":[{"category":"llm","limits":[]}]}`, 200, ""},
		{"secret-2", "PATCH", "/v1/accounts/acme", `{"suspended":true}`, 200, ""},
		{"secret-2", "DELETE", "/v1/accounts/acme", "", 204, ""},
		{"secret-2", "GET", "/v1/tokens", "", 200, `{"tokens":[{"name":"root","scopes":["admin"],"created_at":"1970-01-01T00:00:00.001Z"}]}`},
	} {
		a := ask(s, tt.method, tt.path, tt.body, "X-Quorate-Token", tt.token)
		if a.status != tt.status || !strings.Contains(a.body, tt.want) {
			t.Errorf("%s %s %s: %d %s, want %d %s", tt.method, tt.path, tt.body, a.status, a.body, tt.status, tt.want)
		}
	}
	for _, body := range []string{
		``, `{}`, `{"name":"a"}`, `{"name":"a","scopes":[]}`, `{"name":"a","scopes":["root"]}`, `{"name":"a","scopes":["read","read"]}`,
		`{"name":"a","scopes":"read"}`, `{"name":"","scopes":["read"]}`, `{"name":"a\nb","scopes":["read"]}`, `{"name":"(node)","scopes":["read"]}`,
		`{"name":"` + strings.Repeat("a", 65) + `","scopes":["read"]}`, `{"name":"a","scopes":["read"],"secret":"mine"}`, `{"name":"a","name":"b","scopes":["read"]}`,
	} {
		a := ask(s, "POST", "/v1/tokens", body, "X-Quorate-Token", "secret-2")
		if code, _ := a.code(t); a.status != 400 || code != "invalid_request" {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
	var got []string
	records, _ := n.state.Audit(0, 100)
	for i := len(records) - 1; i >= 0; i-- {
		got = append(got, fmt.Sprint(records[i].By, " ", records[i].Action, " ", records[i].Target))
	}
	want := "(open) token.create root, root token.create gate, root token.revoke gate, root policy.replace , root overrides.replace acme, root account.delete acme"
	if strings.Join(got, ", ") != want {
		t.Errorf("audit %q, want %q", got, want)
	}

	// The audit over HTTP, page by page.
	a := ask(s, "GET", "/v1/audit?limit=4", "", "X-Quorate-Token", "secret-2")
	if a.status != 200 || !strings.HasSuffix(a.body, `],"next_cursor":"3"}`) || strings.Count(a.body, `"by":"root"`) != 4 {
		t.Errorf("%d %s", a.status, a.body)
	}
	a = ask(s, "GET", "/v1/audit?limit=4&cursor=3", "", "X-Quorate-Token", "secret-2")
	want = `{"entries":[{"id":2,"index":10,"time":"1970-01-01T00:00:00.001Z","by":"root","action":"token.create","target":"gate","detail":"check,read"},` +
		`{"id":1,"index":9,"time":"1970-01-01T00:00:00.001Z","by":"(open)","action":"token.create","target":"root","detail":"admin"}],"next_cursor":null}`
	if a.body != want {
		t.Errorf("%s, want %s", a.body, want)
	}
	for _, query := range []string{"limit=0", "limit=1001", "limit=x", "cursor=0", "cursor=x"} {
		if a := ask(s, "GET", "/v1/audit?"+query, "", "X-Quorate-Token", "secret-2"); a.status != 400 {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
	}
}

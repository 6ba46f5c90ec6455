package rest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"quorate/api/wire"
	"quorate/fsm/ledger"
)

func post(t *testing.T, url string, body io.Reader) (int, string) {
	t.Helper()
	resp, err := http.Post(url, "", body)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// chunked hides the length of a reader, so that it is sent in chunks.
type chunked struct{ io.Reader }

func TestABackupComesBackAsItWas(t *testing.T) {
	s, n := newServer(t)
	url := "http://" + serve(t, s)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	var ops []ledger.Op
	for i := range 900 { // more bytes than the limit of other bodies
		ops = append(ops, ledger.Op{Kind: ledger.OpEntry, Account: fmt.Sprintf("%0128d", i), Key: "k", Type: ledger.Purchase, Amount: ledger.Dollar})
	}
	for i := range 12 {
		for k := range ops {
			ops[k].Account = fmt.Sprintf("%0100d.%d", k, i)
		}
		n.state.Apply(uint64(10+i), &ledger.Command{Time: 1, Ops: ops})
	}
	resp, err := http.Get(url + "/v1/backup")
	if err != nil {
		t.Fatal(err)
	}
	backup, err := io.ReadAll(resp.Body)
	if err != nil || resp.Body.Close() != nil || resp.StatusCode != 200 || resp.Header.Get("X-Quorate-Index") != "21" || resp.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %v %v", resp.StatusCode, resp.Header, err)
	}
	if len(backup) <= wire.MaxBody {
		t.Fatalf("a backup of %d bytes says nothing of the limit", len(backup))
	}
	for what, body := range map[string]io.Reader{"with a length": bytes.NewReader(backup), "in chunks": chunked{bytes.NewReader(backup)}} {
		status, got := post(t, url+"/v1/restore?dry_run=true", body)
		var r wire.Restored
		if err := json.Unmarshal([]byte(got), &r); err != nil || status != 200 || r.Restored || r.Accounts != 10_800 || r.ReachesIndex != 21 || n.restores != 0 {
			t.Fatalf("looked at, %s: %d %s", what, status, got)
		}
	}
	// As curl does with a large body.
	req, err := http.NewRequest("POST", url+"/v1/restore?dry_run=true", bytes.NewReader(backup))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Expect", "100-continue")
	if resp, err = http.DefaultClient.Do(req); err != nil || resp.StatusCode != 200 {
		t.Fatalf("after waiting to be told to go on: %v %v", resp, err)
	}
	resp.Body.Close()
	status, got := post(t, url+"/v1/restore", bytes.NewReader(backup))
	if status != 200 || !strings.Contains(got, `"restored":true,"index":99,"reaches_index":21,`) || n.restores != 1 {
		t.Fatalf("%d %s", status, got)
	}
}

func TestADamagedBackupIsRefused(t *testing.T) {
	s, n := newServer(t)
	url := "http://" + serve(t, s)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	var good bytes.Buffer
	if _, err := n.state.Freeze().WriteBackup(&good); err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(good.Bytes())
	flipped[len(flipped)/2] ^= 1
	for name, body := range map[string][]byte{
		"flipped": flipped, "cut short": good.Bytes()[:good.Len()-1], "nothing": nil, "json": []byte(`{"a":1}`),
		"large and no backup": bytes.Repeat([]byte("x"), 3<<20),
	} {
		for _, path := range []string{"/v1/restore", "/v1/restore?dry_run=true", "/v1/%72estore"} {
			status, got := post(t, url+path, bytes.NewReader(body))
			if path == "/v1/%72estore" && len(body) > wire.MaxBody {
				if status != 413 {
					t.Errorf("%s at %s: %d %s", name, path, status, got)
				}
				continue
			}
			if status != 422 || !strings.Contains(got, `"code":"invalid_backup"`) || !strings.Contains(got, "nothing was changed") {
				t.Errorf("%s at %s: %d %s", name, path, status, got)
			}
		}
	}
	if n.restores != 0 {
		t.Errorf("%d restores", n.restores)
	}
}

func TestRestoreRefusals(t *testing.T) {
	s, n := newServer(t)
	url := "http://" + serve(t, s)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	if status, got := post(t, url+"/v1/restore?dry_run=maybe", strings.NewReader("x")); status != 400 || !strings.Contains(got, `"field":"dry_run"`) {
		t.Errorf("%d %s", status, got)
	}
	var good bytes.Buffer
	if _, err := n.state.Freeze().WriteBackup(&good); err != nil {
		t.Fatal(err)
	}
	for err, want := range map[error]string{
		ledger.ErrRestoring: `409 "restoring"`, ledger.ErrUpgrade: `409 "upgrade_unfinished"`, ledger.ErrNoRestore: `503 "unavailable"`,
		ledger.ErrNoQuorum: `503 "no_quorum"`, ledger.ErrOutcomeUnknown: `503 "outcome_unknown"`, io.ErrClosedPipe: `500 "internal"`,
	} {
		n.err = err
		status, got := post(t, url+"/v1/restore", bytes.NewReader(good.Bytes()))
		var p struct{ Code string }
		if json.Unmarshal([]byte(got), &p) != nil || fmt.Sprintf("%d %q", status, p.Code) != want {
			t.Errorf("%v: %d %s, want %s", err, status, got, want)
		}
	}
	// During a restore, a bulk write is refused as a whole: its items are not at
	// fault.
	n.err = nil
	n.state.Apply(8, &ledger.Command{Ops: []ledger.Op{{Kind: ledger.OpRestore, Restore: &ledger.RestoreStep{Kind: ledger.RestoreBegin, ID: "r"}}}})
	status, got := post(t, url+"/v1/ledger", strings.NewReader(`{"entries":[{"account":"a","key":"k","type":"purchase","amount":"5"}]}`))
	if status != 503 || !strings.Contains(got, `"code":"unavailable"`) {
		t.Errorf("%d %s", status, got)
	}
}

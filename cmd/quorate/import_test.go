package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"quorate/api/wire"
)

// bank is a node that only takes entries in bulk. It remembers what it applied
// under which key, and can be told to fail.
type bank struct {
	mu      sync.Mutex
	entries map[string]wire.EntryRequest // by account and key; guarded by mu
	issued  map[string]bool              // guarded by mu
	fail    func(request int) bool       // nil: never
	asked   int                          // guarded by mu

	ahead   time.Duration        // of the cluster's clock before that of the client
	keep    int                  // keys that are remembered, 0: all
	order   []string             // of the keys in entries, oldest first; guarded by mu
	forgot  time.Time            // when the newest forgotten key was applied; guarded by mu
	times   map[string]time.Time // when each entry was applied, by the log; guarded by mu
	applied map[string]int       // times that each entry was applied; guarded by mu
	frozen  time.Time            // the log's time, if it stands still; guarded by mu
}

// now returns the time of the log, which no two requests share.
func (b *bank) now() time.Time {
	if !b.frozen.IsZero() {
		return b.frozen
	}
	time.Sleep(time.Millisecond)
	return time.Now().Add(b.ahead)
}

// record applies an entry as the ledger does, and returns its result.
func (b *bank) record(now time.Time, e wire.EntryRequest) string {
	name := e.Account + " " + e.Key
	b.issued[e.IssuedAt] = true
	was, known := b.entries[name]
	for !known && b.keep > 0 && len(b.order) >= b.keep {
		b.forgot = b.times[b.order[0]]
		delete(b.entries, b.order[0])
		b.order = b.order[1:]
	}
	issued, err := time.Parse(time.RFC3339, e.IssuedAt)
	switch {
	case known && (was.Amount != e.Amount || was.Type != e.Type):
		return `{"status":409,"code":"key_reused","detail":"another entry has it"}`
	case known:
		return `{"status":200,"replayed":true}`
	case err != nil || issued.After(now.Add(time.Minute)):
		return `{"status":422,"code":"issued_in_future","detail":"in the future"}`
	case !issued.After(b.forgot):
		return `{"status":409,"code":"key_expired","detail":"too old"}`
	}
	b.entries[name], b.times[name] = e, now
	b.order = append(b.order, name)
	b.applied[name]++
	return `{"status":200,"replayed":false}`
}

// counts returns how many entries were applied once, and how many more often.
func (b *bank) counts() (once, more int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range b.applied {
		if n == 1 {
			once++
		} else {
			more++
		}
	}
	return once, more
}

func (b *bank) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	if r.URL.Path == "/v1/cluster" {
		fmt.Fprintf(w, `{"time":%q}`, now.UTC().Format(time.RFC3339Nano))
		return
	}
	b.asked++
	if b.fail != nil && b.fail(b.asked) {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, `{"status":503,"code":"no_quorum","detail":"no leader"}`)
		return
	}
	var in struct{ Entries []wire.EntryRequest }
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || r.URL.Path != "/v1/ledger" || len(in.Entries) > wire.MaxBulk {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	var results []string
	for _, e := range in.Entries {
		results = append(results, b.record(now, e))
	}
	fmt.Fprintf(w, `{"results":[%s]}`, strings.Join(results, ","))
}

func newBank(t *testing.T) *bank {
	t.Helper()
	b := &bank{
		entries: map[string]wire.EntryRequest{}, issued: map[string]bool{}, times: map[string]time.Time{}, applied: map[string]int{},
	}
	s := httptest.NewServer(b)
	t.Cleanup(s.Close)
	t.Setenv(envEndpoints, s.URL)
	return b
}

// csvOf writes a file to import.
func csvOf(t *testing.T, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "entries.csv")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const header = "account,key,type,amount"

// many returns n lines of an account each.
func many(n int) []string {
	lines := []string{header}
	for i := range n {
		lines = append(lines, fmt.Sprintf("acme-%d,invoice %d,purchase,5.00", i, i))
	}
	return lines
}

func importFile(t *testing.T, file string, args ...string) (code int, out, err string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = run(append([]string{"ledger", "import", file}, args...), &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

func TestImportTwiceCountsOnce(t *testing.T) {
	b := newBank(t)
	file := csvOf(t, many(2500)...)
	if code, out, err := importFile(t, file); code != exitOK || !strings.Contains(out, "2500 entries, 0 refused, 0 were recorded before") {
		t.Fatalf("code %d, %s%s", code, out, err)
	}
	code, out, err := importFile(t, file, "-o", "json")
	if code != exitOK || !strings.Contains(out, `"entries":2500,"replayed":2500,"refused":0`) {
		t.Errorf("again: code %d, %s%s", code, out, err)
	}
	if len(b.entries) != 2500 || len(b.issued) != 3 || b.issued[""] {
		t.Errorf("%d entries, issued at %v; want a time for each batch", len(b.entries), b.issued)
	}
}

func TestAnImportOutlastsANoQuorum(t *testing.T) {
	b := newBank(t)
	b.fail = func(n int) bool { return n == 2 || n == 3 }
	if code, out, err := importFile(t, csvOf(t, many(1500)...)); code != exitOK || len(b.entries) != 1500 {
		t.Errorf("code %d, %d entries, %s%s", code, len(b.entries), out, err)
	}
}

func TestAnImportGoesOnWhereItStopped(t *testing.T) {
	b := newBank(t)
	file := csvOf(t, many(3000)...)
	// As a first run leaves it that was killed after its second batch.
	if code, _, err := importFile(t, file); code != exitOK {
		t.Fatal(err)
	}
	state, err := os.ReadFile(file + ".import")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file+".import", bytes.Replace(state, []byte(`"done":3000`), []byte(`"done":2000`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	b.asked = 0
	if code, out, err := importFile(t, file); code != exitOK || b.asked != 1 || len(b.issued) != 3 {
		t.Errorf("code %d, %d requests, issued at %v, %s%s", code, b.asked, b.issued, out, err)
	}
}

// TestAnImportLargerThanTheKeyMemory: the clock of the client has no effect.
func TestAnImportLargerThanTheKeyMemory(t *testing.T) {
	for _, ahead := range []time.Duration{-time.Hour, 0, time.Hour} {
		t.Run(ahead.String(), func(t *testing.T) {
			b := newBank(t)
			b.ahead, b.keep = ahead, 2000
			file := csvOf(t, many(7500)...)
			if code, out, err := importFile(t, file); code != exitOK {
				t.Fatalf("code %d, %s%s", code, out, err)
			}
			code, out, err := importFile(t, file)
			if once, more := b.counts(); once != 7500 || more != 0 || code != exitOK || !strings.Contains(out, "forgotten their keys") {
				t.Errorf("after two runs %d entries once, %d more often; code %d, %s%s", once, more, code, out, err)
			}
			// A run that was cut off after the answer to a batch, before it was noted.
			state, fault := os.ReadFile(file + ".import")
			if fault != nil {
				t.Fatal(fault)
			}
			cut := bytes.Replace(state, []byte(`"done":7500`), []byte(`"done":4000`), 1)
			if err := os.WriteFile(file+".import", cut, 0o600); err != nil {
				t.Fatal(err)
			}
			importFile(t, file)
			if once, more := b.counts(); once != 7500 || more != 0 {
				t.Errorf("after a third run %d entries once, %d more often", once, more)
			}
		})
	}
}

// TestAnImportOfAnEarlierVersion continues from the FILE.csv.import of a version that
// gave all entries one time by the clock of the client.
func TestAnImportOfAnEarlierVersion(t *testing.T) {
	for _, ahead := range []time.Duration{-time.Hour, -10 * time.Minute, 0, 10 * time.Minute, time.Hour} {
		for _, done := range []int{0, 1000, 3000, 3500} {
			t.Run(fmt.Sprint(ahead, done), func(t *testing.T) {
				b := newBank(t)
				file := csvOf(t, many(3500)...)
				if code, _, err := importFile(t, file); code != exitOK {
					t.Fatal(err)
				}
				state, err := os.ReadFile(file + ".import")
				if err != nil {
					t.Fatal(err)
				}
				var p progress
				if err := json.Unmarshal(state, &p); err != nil {
					t.Fatal(err)
				}
				old := fmt.Sprintf(`{"issued_at":%q,"size":%d,"sum":%q,"done":%d,"refused":0}`,
					time.Now().Add(ahead).UTC().Format(time.RFC3339), p.Size, p.Sum, done)
				write := func() {
					t.Helper()
					if err := os.WriteFile(file+".import", []byte(old), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				// The ledger has applied what was noted and the next batch, and has
				// forgotten all but the last 500 keys.
				sent := min(done+importBatch, 3500)
				b.ahead, b.keep = -ahead, 500
				for i := range 3500 {
					name := fmt.Sprintf("acme-%d invoice %d", i, i)
					if i >= sent {
						delete(b.applied, name)
					}
					if i >= sent || i < sent-b.keep {
						delete(b.entries, name)
					}
				}
				b.order = b.order[sent-b.keep : sent]
				b.forgot = time.Now().Add(b.ahead)
				b.keep = 4000
				write()
				for range 2 {
					importFile(t, file)
				}
				if once, more := b.counts(); once != 3500 || more != 0 {
					t.Errorf("%d entries once, %d more often", once, more)
				}
			})
		}
	}
}

// TestALogWhoseTimeStandsStill: a new leader's clock can be behind, and the nodes expect
// the log's time to have moved on.
func TestALogWhoseTimeStandsStill(t *testing.T) {
	b := newBank(t)
	b.ahead = time.Hour
	file := csvOf(t, many(1500)...)
	b.fail = func(n int) bool {
		b.frozen = time.Now()
		return n == 1
	}
	if code, out, err := importFile(t, file); code != exitOK || len(b.entries) != 1500 {
		t.Errorf("code %d, %d entries, %s%s", code, len(b.entries), out, err)
	}
}

func TestARefusedEntryIsTold(t *testing.T) {
	newBank(t)
	code, out, err := importFile(t, csvOf(t, header, "a,k,purchase,5", "a,k,purchase,6", "b,k,purchase,7"))
	if code != exitError || !strings.Contains(out, "3 entries, 1 refused") || !strings.Contains(err, "entry 2: key_reused") {
		t.Errorf("code %d, %s%s", code, out, err)
	}
}

func TestBadFilesAreRefusedWhole(t *testing.T) {
	long := strings.Repeat("k", 129)
	for _, tt := range []struct {
		name  string
		lines []string
		want  []string // in the error
	}{
		{"empty", []string{""}, []string{"line 1"}},
		{"no header", []string{"acme,k,purchase,5"}, []string{"line 1", header}},
		{"columns in another order", []string{"key,account,type,amount", "k,acme,purchase,5"}, []string{"line 1"}},
		{"a column too few", []string{header, "acme,k,purchase,5", "acme,k,purchase"}, []string{"line 3"}},
		{"a column too many", []string{header, "acme,k,purchase,5,x"}, []string{"line 2"}},
		{"a bad account", []string{header, "acme,k,purchase,5", "ac me,k,purchase,5"}, []string{"line 3, column 1", "account"}},
		{"a bad key", []string{header, "acme," + long + ",purchase,5"}, []string{"line 2, column 6", "key"}},
		{"a bad type", []string{header, "acme,k,gift,5"}, []string{"line 2, column 8", "type"}},
		{"a bad amount", []string{header, "acme,k,purchase,5", `acme,"k,1",purchase,5.0000000001`}, []string{"line 3, column 21", "amount"}},
		{"an amount of nothing", []string{header, "acme,k,purchase,0"}, []string{"line 2", "amount"}},
		{"a quote that does not end", []string{header, `acme,"k,purchase,5`}, []string{"line"}},
		{"a bad line far behind", append(many(5000), "acme,k,purchase,-1"), []string{"line 5002", "amount"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBank(t)
			file := csvOf(t, tt.lines...)
			code, out, err := importFile(t, file)
			if code != exitError || out != "" || strings.Count(err, "\n") != 1 {
				t.Errorf("code %d, %s%s", code, out, err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err, want) {
					t.Errorf("%q is not in %s", want, err)
				}
			}
			if b.asked != 0 {
				t.Errorf("%d requests were sent", b.asked)
			}
			if _, err := os.Stat(file + ".import"); err == nil {
				t.Error("it left a position")
			}
		})
	}
}

func TestAChangedFileIsAnotherImport(t *testing.T) {
	b := newBank(t)
	file := csvOf(t, many(3)...)
	if code, _, err := importFile(t, file); code != exitOK {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strings.Join(many(4), "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, err := importFile(t, file); code != exitError || !strings.Contains(err, "changed") || len(b.entries) != 3 {
		t.Errorf("code %d, %s, %d entries", code, err, len(b.entries))
	}
}

package testcluster_test

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"quorate/testing/testcluster"
)

// TestFaults: only a FaultBinary injects faults, and of those only what it knows.
// The product has nothing of it, whatever its environment is.
func TestFaults(t *testing.T) {
	product, faulty := testcluster.Binary(t), testcluster.FaultBinary(t)
	variable, _, _ := strings.Cut(testcluster.Inject(), "=")
	for _, tt := range []struct {
		program string
		fault   string
		code    int
	}{
		{product, "nonsense", 0},
		{faulty, "nonsense", 2},
		{faulty, "nofsync,nonsense", 2},
		{faulty, "nofsync,nolease,nodedupe,nocopies,noheal,nosmallest,commands1,clock=/does/not/exist", 0},
		{faulty, "", 0},
	} {
		out := testcluster.RunProgram(t, time.Minute, tt.program, []string{testcluster.Inject(tt.fault)}, "version")
		if out.Code != tt.code {
			t.Errorf("%s with fault %q: %+v, want exit code %d", tt.program, tt.fault, out, tt.code)
		}
		if tt.code != 0 && !strings.Contains(out.Stderr, variable+`: unknown fault "nonsense"`) {
			t.Errorf("%s with fault %q: %+v", tt.program, tt.fault, out)
		}
	}
	for _, word := range []string{variable, "nofsync", "InjectFaults"} {
		if contains(t, product, word) {
			t.Errorf("the product contains %q", word)
		}
		if !contains(t, faulty, word) {
			t.Errorf("a FaultBinary does not contain %q: the check above shows nothing", word)
		}
	}
}

func contains(t *testing.T, file, word string) bool {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Contains(b, []byte(word))
}

package main

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
)

func TestPlanKeepsPortsOfItsDirectory(t *testing.T) {
	dir := t.TempDir()
	first, err := planCluster(dir, 3, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := planCluster(dir, 1, 0); err != nil {
		t.Fatal(err)
	}
	again, err := planCluster(dir, 3, 0)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for i := range first {
		if again[i] != first[i] {
			t.Errorf("node %d moved from %+v to %+v", i, first[i], again[i])
		}
		for _, addr := range []string{first[i].HTTP, first[i].Peer, first[i].Gossip} {
			if seen[addr] {
				t.Errorf("%s was given twice", addr)
			}
			seen[addr] = true
		}
	}
}

func TestPlanNamesAPortThatIsTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = planCluster(t.TempDir(), 1, l.Addr().(*net.TCPAddr).Port)
	if err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Fatalf("err = %v, want it to name %s", err, l.Addr())
	}
}

func TestFounders(t *testing.T) {
	want := map[int][]int{1: {1}, 2: {1, 0}, 3: {3, 3, 3}, 5: {3, 3, 3, 0, 0}}
	for n, expect := range want {
		for i, node := range newDevCluster(make([]planned, n), io.Discard).nodes {
			if node.expect != expect[i] {
				t.Errorf("node %d of %d expects %d, want %d", i, n, node.expect, expect[i])
			}
		}
	}
}

func TestLogPrefixPassesWholeLines(t *testing.T) {
	var out bytes.Buffer
	l := &logPrefix{to: &out, prefix: "n1 | "}
	for _, part := range []string{"one\ntw", "o\n\nthree"} {
		if n, err := l.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatalf("Write = %d, %v", n, err)
		}
	}
	if got, want := out.String(), "n1 | one\nn1 | two\n"; got != want {
		t.Errorf("out = %q, want %q", got, want)
	}
	if got := l.lastLine(); got != "two" {
		t.Errorf("lastLine() = %q, want two", got)
	}
}

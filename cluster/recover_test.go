package cluster

import (
	"bytes"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"quorate/cluster/storage"
	"quorate/fsm/ledger"
)

// stubFSM applies nothing.
type stubFSM struct {
	raft.MockFSM
	state *ledger.State
}

func (f *stubFSM) Map() *ledger.Map     { return f.state.Map() }
func (f *stubFSM) ClusterID() string    { return "c1" }
func (f *stubFSM) Index() uint64        { return 0 }
func (f *stubFSM) State() *ledger.State { return f.state }

// TestDryRunWritesNothing: `recover --dry-run` reports what a directory holds, leaves
// each file as it is, and counts no boot.
func TestDryRunWritesNothing(t *testing.T) {
	dir := t.TempDir()
	d, err := storage.Open(dir, "n1", storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := raft.DefaultConfig()
	c.LocalID, c.Logger = "n1", hclog.NewNullLogger()
	_, trans := raft.NewInmemTransport("")
	servers := raft.Configuration{Servers: []raft.Server{{ID: "n1", Address: "a:1"}, {ID: "n2", Address: "a:2"}, {ID: "n3", Address: "a:3"}}}
	if err := raft.BootstrapCluster(c, d.Log(), storage.NewVoteStore(d.Log()), d.Snapshots(), trans, servers); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	before := readFiles(t, dir)
	state, err := ledger.NewState()
	if err != nil {
		t.Fatal(err)
	}
	out, err := Recover(t.Context(), Recovery{
		DataDir: dir, With: []string{"n2"}, DryRun: true,
		NewFSM: func() FSM { return &stubFSM{state: state} },
	})
	if err != nil {
		t.Fatal(err)
	}
	if out.NodeID != "n1" || out.Index != 1 || len(out.Members) != 3 || len(out.Left) != 2 {
		t.Errorf("%+v", out)
	}
	if after := readFiles(t, dir); !maps.EqualFunc(before, after, bytes.Equal) {
		t.Errorf("the directory was changed: %d files before, %d after", len(before), len(after))
	}
}

// readFiles returns the contents of each file of a directory, and a nil slice for
// each directory.
func readFiles(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			files[path], err = os.ReadFile(path)
		} else if err == nil {
			files[path] = nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

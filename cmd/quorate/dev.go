package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"
)

// maxDevNodes bounds --nodes.
const maxDevNodes = 15

type devOptions struct {
	nodes    int
	dataDir  string
	httpPort int
	logLevel string
}

func newDev() *cobra.Command {
	var o devOptions
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run a cluster on this machine, to try quorate",
		Long: `Run a cluster of real processes on loopback until Ctrl-C.

On a terminal the command prints how to use the cluster; otherwise it prints one
line of JSON once every node is ready. The logs of the nodes go to stderr. If you
kill a node, the other nodes continue.`,
		Args: cobra.NoArgs,
	}
	fs := cmd.Flags()
	fs.IntVar(&o.nodes, "nodes", 3, "number of nodes")
	fs.StringVar(&o.dataDir, "data-dir", "", "`DIR` for the data (default: a temporary directory, removed at the end)")
	fs.IntVar(&o.httpPort, "http-port", 8081, "`PORT` of the first node's API, the other nodes use the following ports; 0: any free port")
	fs.StringVar(&o.logLevel, "log-level", "warn", "log level of the nodes: debug, info, warn or error")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if o.nodes < 1 || o.nodes > maxDevNodes {
			return usage(fmt.Errorf("--nodes %d: want 1 to %d", o.nodes, maxDevNodes))
		}
		if o.httpPort < 0 || o.httpPort+o.nodes > 65536 {
			return usage(fmt.Errorf("--http-port %d: want a port, or 0 for any free", o.httpPort))
		}
		return dev(o, cmd.OutOrStdout(), cmd.ErrOrStderr())
	}
	return cmd
}

// dev runs a cluster until a signal. It starts the nodes, waits until they serve,
// announces it, and then only watches them.
func dev(o devOptions, stdout, stderr io.Writer) (err error) {
	// The kernel kills the nodes when the thread that started them ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// The cluster continues if the reader of the output exits.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()

	dir, remove, err := devDir(o.dataDir)
	if err != nil {
		return err
	}
	defer remove()
	plan, err := planCluster(dir, o.nodes, o.httpPort)
	if err != nil {
		return err
	}

	c := newDevCluster(plan, stderr)
	defer c.stop()
	if err := c.start(ctx, o.logLevel); err != nil {
		if ctx.Err() != nil {
			return nil // interrupted, not failed
		}
		return err
	}
	if err := announce(stdout, c.nodes, o.dataDir == ""); err != nil {
		fmt.Fprintf(stderr, "quorate: announce the cluster: %v\n", err)
	}
	return c.watch(ctx, stderr)
}

// devDir returns the directory for the data of all nodes, and a function that removes it
// if it is temporary.
func devDir(named string) (string, func(), error) {
	if named != "" {
		if err := os.MkdirAll(named, 0o700); err != nil {
			return "", nil, fmt.Errorf("make --data-dir: %w", err)
		}
		return named, func() {}, nil
	}
	dir, err := os.MkdirTemp("", "quorate-dev-")
	if err != nil {
		return "", nil, fmt.Errorf("make a temporary directory: %w", err)
	}
	return dir, func() { os.RemoveAll(dir) }, nil
}

// announce prints how to use the cluster on a terminal, else the addresses as JSON.
func announce(w io.Writer, nodes []*devNode, temporary bool) error {
	if f, ok := w.(*os.File); !ok || !isatty.IsTerminal(f.Fd()) {
		type line struct {
			ID      string `json:"id"`
			HTTP    string `json:"http"`
			PID     int    `json:"pid"`
			DataDir string `json:"data_dir"`
		}
		ready := struct {
			Ready bool   `json:"ready"`
			Nodes []line `json:"nodes"`
		}{Ready: true}
		for _, n := range nodes {
			ready.Nodes = append(ready.Nodes, line{n.ID, n.HTTP, n.pid(), n.DataDir})
		}
		return json.NewEncoder(w).Encode(ready)
	}

	fmt.Fprintf(w, "\n  A cluster of %d is ready.\n\n", len(nodes))
	for _, n := range nodes {
		fmt.Fprintf(w, "  %-4s http://%s   pid %-8d %s\n", n.ID, n.HTTP, n.pid(), n.DataDir)
	}
	first, last := nodes[0].HTTP, nodes[len(nodes)-1].HTTP
	fmt.Fprintf(w, `
  Buy credit on one node, check on another:

    curl -d '{"key":"first","type":"purchase","amount":"5"}' http://%s/v1/accounts/acme/ledger
    curl -d '{"account":"acme","category":"llm"}' http://%s/v1/check

`, first, last)
	end := "The data is kept."
	if temporary {
		end = "The data is removed then."
	}
	_, err := fmt.Fprintf(w, "  Ctrl-C stops all. %s\n\n", end)
	return err
}

// The timeouts of dev.
const (
	readyTime = 60 * time.Second // for the whole cluster to serve
	stopTime  = closeTimeout + time.Second
	pollEvery = 50 * time.Millisecond
)

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"quorate/cmd/node"
)

// closeTimeout bounds how long a node takes to stop after SIGTERM.
const closeTimeout = 15 * time.Second

func newServe() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run one node",
		Long: `Run one node until SIGTERM or Ctrl-C. The node reloads its certificates, keys and
tokens within seconds of a change, and at once on SIGHUP.

Each flag is also an environment variable (--node-id: QUORATE_NODE_ID) and a
key of the file that --config names (node-id). A flag overrides the environment,
the environment overrides the file, and the file overrides the default.`,
		Example: "  quorate serve --node-id n1 --data-dir ./n1 --bootstrap-expect 1",
		Args:    cobra.NoArgs,
	}
	addServeFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := loadConfig(cmd.Flags(), os.Environ)
		if err != nil {
			return usage(err)
		}
		if err := cfg.Validate(); err != nil {
			return usage(err)
		}
		log, err := newLogger(cfg, cmd.ErrOrStderr())
		if err != nil {
			return usage(err)
		}
		return serve(cfg, log)
	}
	return cmd
}

// serve runs a node until a signal, which is not an error, or until the node fails.
func serve(cfg node.Config, log *slog.Logger) error {
	ctx, stop := untilSignal()
	defer stop()
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)

	// A signal may interrupt the start. It must not cancel the context of a running node,
	// which is closed in order.
	opening, abort := context.WithCancel(context.WithoutCancel(ctx))
	defer abort()
	started := context.AfterFunc(ctx, abort)
	n, err := node.Open(opening, cfg, buildVersion(), log)
	started()
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("start node %s: %w", cfg.NodeID, err)
	}
	log.Info("serving", "http", n.HTTPAddr(), "version", buildVersion())

	var failure error
	for running := true; running; {
		select {
		case <-hup:
			n.Reload()
			continue
		case <-ctx.Done():
			log.Info("stopping")
		case err := <-n.Failed():
			failure = fmt.Errorf("node %s failed: %w", cfg.NodeID, err)
		}
		running = false
	}
	closing, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := n.Close(closing); err != nil && failure == nil {
		failure = fmt.Errorf("stop node %s: %w", cfg.NodeID, err)
	}
	return failure
}

// untilSignal returns a context that the first SIGTERM or Ctrl-C ends. The second exits
// at once.
func untilSignal() (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		<-signals
		os.Exit(exitError)
	}()
	return ctx, func() { signal.Stop(signals); cancel() }
}

func newLogger(cfg node.Config, w io.Writer) (*slog.Logger, error) {
	level, err := cfg.Level()
	if err != nil {
		return nil, err
	}
	options := &slog.HandlerOptions{Level: level}
	var h slog.Handler = slog.NewTextHandler(w, options)
	if cfg.LogFormat == "json" {
		h = slog.NewJSONHandler(w, options)
	}
	return slog.New(h).With("node", cfg.NodeID), nil
}

// Command quorate is the node, the tool for operators and the client in one binary.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

func main() {
	if err := injectFaults(); err != nil {
		fmt.Fprintln(os.Stderr, errorLine(nil, err))
		os.Exit(exitCode(err))
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run executes a command line and returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)

	// An error before a verb runs is one of the command line.
	parsed := false
	root.PersistentPreRun = func(*cobra.Command, []string) { parsed = true }

	cmd, err := root.ExecuteC()
	if err != nil && !parsed {
		err = usage(err)
	}
	code := exitCode(err)
	if line := errorLine(cmd, err); line != "" {
		fmt.Fprintln(stderr, line)
	}
	return code
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "quorate",
		Short: "A rate limiter that keeps its limits while nodes die",
		Long: `quorate limits requests by account, on every node of a cluster alike.

Exit codes: 0 ok or allowed, 1 error, 2 usage, 3 denied, 4 unavailable.`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(
		newServe(), newDev(),
		newCheck(), newSettle(), newRelease(), newExplain(), newAccount(), newLedger(), newPolicy(), newCluster(), newBackup(), newRestore(), newRecover(),
		newToken(), newAudit(), newTLS(), newGossip(), newHealth(), newVersion(),
	)
	return root
}

// group returns a verb that only contains others.
func group(use, short string, verbs ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usage(fmt.Errorf("%s needs one of its verbs", cmd.CommandPath()))
		},
	}
	g.AddCommand(verbs...)
	return g
}

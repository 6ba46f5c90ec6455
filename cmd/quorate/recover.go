package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"quorate/cmd/node"
)

func newRecover() *cobra.Command {
	var dataDir string
	var with []string
	var yes bool
	cmd := &cobra.Command{
		Use:   "recover --data-dir DIR",
		Short: "Recover a cluster that lost its majority, from the remaining nodes",
		Long: `Reduce a cluster to the node of a data directory, when most of the voters are lost
for good. The cluster keeps everything in this node's log, including entries that
were not acknowledged. Entries that only lost nodes had acknowledged are lost. The
lost nodes count as removed and cannot return.

First stop every remaining node. Without --yes the command changes nothing and
shows what the directory holds: recover the node with the highest term, and among
nodes of the same term the one with the highest index. If several nodes remain,
name the others with --with and run the same command on each of them. Then start
the nodes as before, and new nodes, which join.`,
		Example: "  quorate recover --data-dir ./n1\n  quorate recover --data-dir ./n1 --yes",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().StringVar(&dataDir, "data-dir", "", "data directory `DIR` of a stopped node")
	cmd.Flags().StringSliceVar(&with, "with", nil, "ids `A,B` of the other remaining nodes, on which the same command is run")
	cmd.Flags().BoolVar(&yes, "yes", false, "recover: all nodes that are not named are removed for good")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if dataDir == "" {
			return usage(fmt.Errorf("--data-dir: want the directory of the remaining node"))
		}
		r, err := node.Recover(cmd.Context(), dataDir, with, !yes)
		if err != nil {
			return fmt.Errorf("recover %s: %w", dataDir, err)
		}
		return printRecovered(cmd.OutOrStdout(), r, yes)
	}
	return cmd
}

func printRecovered(to io.Writer, r node.Recovered, done bool) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "NODE\tCLUSTER\tTERM\tINDEX\tEPOCH\n%s\t%s\t%d\t%d\t%d\n\n", r.NodeID, r.ClusterID, r.Term, r.Index, r.Epoch)
	var stay, gone []string
	for _, s := range r.Members {
		gone = append(gone, string(s.ID))
	}
	for _, s := range r.Left {
		stay = append(stay, string(s.ID))
		for i, id := range gone {
			if id == string(s.ID) {
				gone = append(gone[:i], gone[i+1:]...)
				break
			}
		}
	}
	if done {
		fmt.Fprintf(w, "recovered: the cluster is %s; removed for good: %s\n", strings.Join(stay, ", "), orNone(gone))
	} else {
		fmt.Fprintf(w, "nothing was changed; with --yes the cluster will be %s, and removed for good: %s (it takes %s)\n",
			strings.Join(stay, ", "), orNone(gone), r.Wait.Round(100*time.Millisecond))
	}
	return w.Flush()
}

// orNone returns a list of ids as text.
func orNone(ids []string) string {
	if len(ids) == 0 {
		return "none"
	}
	return strings.Join(ids, ", ")
}

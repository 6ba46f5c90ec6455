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
		Short: "Go on with the nodes that are left of a cluster that lost its majority",
		Long: `Make the node of a data directory all there is of its cluster, when most of the
nodes with a vote are gone for good. It keeps all that the node has, also what was
not acknowledged yet; what only nodes that are gone had acknowledged is lost. Those
nodes count as removed and cannot come back.

Stop every node that is left first. Without --yes it changes nothing and tells
what the directory holds: recover the node with the highest term, and of those the
highest index. Where several are left, name the others with --with and run the same
on each of them. Then start the nodes as before, and new ones that join.`,
		Example: "  quorate recover --data-dir ./n1\n  quorate recover --data-dir ./n1 --yes",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().StringVar(&dataDir, "data-dir", "", "`DIR` with the data of a node that does not run")
	cmd.Flags().StringSliceVar(&with, "with", nil, "ids `A,B` of other nodes that are left, and recovered with the same words")
	cmd.Flags().BoolVar(&yes, "yes", false, "do it: the nodes that are not named are gone for good")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if dataDir == "" {
			return usage(fmt.Errorf("--data-dir: want the directory of the node that is left"))
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
		fmt.Fprintf(w, "recovered: the cluster is %s; removed for good: %s\n", strings.Join(stay, ", "), orNobody(gone))
	} else {
		fmt.Fprintf(w, "nothing was changed; with --yes the cluster will be %s, and removed for good: %s (it takes %s)\n",
			strings.Join(stay, ", "), orNobody(gone), r.Wait.Round(100*time.Millisecond))
	}
	return w.Flush()
}

func orNobody(ids []string) string {
	if len(ids) == 0 {
		return "nobody"
	}
	return strings.Join(ids, ", ")
}

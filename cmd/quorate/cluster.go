package main

import (
	"cmp"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

func newCluster() *cobra.Command {
	var a asker
	status := &cobra.Command{
		Use:   "status",
		Short: "Show the nodes, the leader and who owns how much",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client(a.urls())
			if err != nil {
				return err
			}
			s, err := c.Cluster(cmd.Context())
			if err != nil {
				return fmt.Errorf("get the cluster's status: %w", err)
			}
			return a.print(cmd.OutOrStdout(), s.Raw, func(w io.Writer) {
				leader := "none"
				if s.Leader != nil {
					leader = *s.Leader
				}
				fmt.Fprintf(w, "leader %s\tterm %d\tepoch %d\n\n", leader, s.Term, s.Epoch)
				if s.Unowned > 0 || s.Moving > 0 {
					fmt.Fprintf(w, "%d partitions without an owner, %d moving\n\n", s.Unowned, s.Moving)
				}
				fmt.Fprintln(w, "NODE\tSTATE\tVOTER\tPARTITIONS\tLEASES\tWITHOUT COPIES\tAPPLIED\tHTTP\tVERSION")
				for _, n := range s.Nodes {
					fmt.Fprintf(w, "%s\t%s\t%t\t%d\t%d\t%d\t%d\t%s\t%s\n",
						n.ID, n.State, n.Voter, n.Partitions, n.Leases, n.Incomplete, n.AppliedIndex, n.HTTP, cmp.Or(n.Version, "-"))
				}
			})
		},
	}
	return clientVerb(group("cluster", "Look at the cluster", status), &a)
}

package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"quorate/api/wire"
)

func newCluster() *cobra.Command {
	var a asker
	status := &cobra.Command{
		Use:   "status",
		Short: "Show the nodes, the leader and the partitions of each node",
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
				if s.ChangingGrantors {
					fmt.Fprintf(w, "the nodes that grant leases are changing: do not stop a node yet\n\n")
				}
				fmt.Fprintln(w, "NODE\tSTATE\tVOTER\tPARTITIONS\tLEASES\tINCOMPLETE\tAPPLIED\tHTTP\tVERSION")
				for _, n := range s.Nodes {
					fmt.Fprintf(w, "%s\t%s\t%t\t%d\t%d\t%d\t%d\t%s\t%s\n",
						n.ID, n.State, n.Voter, n.Partitions, n.Leases, n.Incomplete, n.AppliedIndex, n.HTTP, cmp.Or(n.Version, "-"))
				}
			})
		},
	}
	return clientVerb(group("cluster", "Show the cluster and change its members", status,
		newRemove(&a), newTransfer(&a), newDrain(&a)), &a)
}

// orderTimeout bounds an order: a node that is removed or drained first hands over its
// partitions.
const orderTimeout = 30 * time.Second

func newRemove(a *asker) *cobra.Command {
	return &cobra.Command{
		Use:   "remove NODE",
		Short: "Take a node out of the cluster for good",
		Long: `Take a node out of the cluster for good. If the node answers, it hands over its
partitions; otherwise its successors take them over. Its process ends by itself.
Its id cannot be used again: give the node that replaces it another id.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.patient(a.urls(), orderTimeout)
			if err != nil {
				return err
			}
			raw, err := c.Remove(cmd.Context(), args[0])
			if err != nil {
				return fmt.Errorf("remove node %s: %w", args[0], err)
			}
			return a.print(cmd.OutOrStdout(), raw, func(w io.Writer) { fmt.Fprintf(w, "%s is removed\n", args[0]) })
		},
	}
}

func newTransfer(a *asker) *cobra.Command {
	var to string
	cmd := &cobra.Command{
		Use:   "transfer-leadership",
		Short: "Transfer leadership to another node",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client(a.urls())
			if err != nil {
				return err
			}
			raw, err := c.TransferLeadership(cmd.Context(), to)
			if err != nil {
				return fmt.Errorf("transfer leadership: %w", err)
			}
			var now wire.Transferred
			if err := json.Unmarshal(raw, &now); err != nil {
				return fmt.Errorf("read answer: %w", err)
			}
			return a.print(cmd.OutOrStdout(), raw, func(w io.Writer) { fmt.Fprintf(w, "%s leads\n", now.Leader) })
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "`NODE` that becomes the leader (default: the voter with the most applied log entries)")
	return cmd
}

func newDrain(a *asker) *cobra.Command {
	return &cobra.Command{
		Use:   "drain",
		Short: "Move all partitions of one node to other nodes",
		Long: `Move all partitions of one node, the one of the endpoint given, to other nodes,
before you stop or examine it. The node stays a member, forwards checks to the
owners, reports that it is not ready, and owns nothing until it is restarted.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			urls := a.urls()
			if len(urls) != 1 {
				return usage(fmt.Errorf("--endpoints %s: want exactly one endpoint, that of the node to drain", strings.Join(urls, ",")))
			}
			c, err := a.patient(urls, orderTimeout)
			if err != nil {
				return err
			}
			raw, err := c.Drain(cmd.Context())
			if err != nil {
				return fmt.Errorf("drain %s: %w", urls[0], err)
			}
			return a.print(cmd.OutOrStdout(), raw, func(w io.Writer) { fmt.Fprintf(w, "%s owns nothing any more\n", urls[0]) })
		},
	}
}

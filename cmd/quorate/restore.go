package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

func newRestore() *cobra.Command {
	var a asker
	var dry bool
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Replace the accounts, the policy and the keys of the cluster by a backup",
		Long: `Replace the accounts, the policy and the idempotency keys by those of a backup, on
all nodes at one log index. Entries that were recorded after the backup are lost.
Membership and the cluster's id do not change. During the restore every node
refuses writes and is not ready.

A damaged file changes nothing; --dry-run only reads the file.`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only show the content of the file and whether it is complete")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		info, err := os.Stat(args[0])
		if err != nil {
			return err
		}
		c, err := a.client(a.urls())
		if err != nil {
			return err
		}
		bar := bytesBar(cmd.ErrOrStderr(), info.Size(), "restore")
		r, err := c.Restore(cmd.Context(), info.Size(), func() (io.ReadCloser, error) {
			f, err := os.Open(args[0])
			if err != nil {
				return nil, err
			}
			if err := bar.Set(0); err != nil {
				return nil, errors.Join(err, f.Close())
			}
			return struct {
				io.Reader
				io.Closer
			}{io.TeeReader(f, bar), f}, nil
		}, dry)
		if err = errors.Join(err, bar.Finish()); err != nil {
			return fmt.Errorf("restore %s: %w", args[0], err)
		}
		return a.print(cmd.OutOrStdout(), r.Raw, func(w io.Writer) {
			if r.Restored {
				fmt.Fprintf(w, "restored at index %d\n\n", r.Index)
			}
			fmt.Fprintf(w, "REACHES INDEX\tTAKEN AT\tCLUSTER\tACCOUNTS\tKEYS\tPOLICY\tCONTENT\n%d\t%s\t%s\t%d\t%d\t%d\t%s\n",
				r.ReachesIndex, r.TakenAt, r.ClusterID, r.Accounts, r.Keys, r.PolicyRevision, r.Content)
		})
	}
	return clientVerb(cmd, &a)
}

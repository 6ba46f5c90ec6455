package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

func newAudit() *cobra.Command {
	var a asker
	var limit int
	var cursor string
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "List the changes to policy, overrides, tokens and membership, newest first",
		Args:  cobra.NoArgs,
	}
	cmd.Flags().IntVar(&limit, "limit", 100, "maximum number of entries, up to 1000")
	cmd.Flags().StringVar(&cursor, "cursor", "", "next_cursor of the previous page")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := a.client(a.urls())
		if err != nil {
			return err
		}
		list, err := c.Audit(cmd.Context(), limit, cursor)
		if err != nil {
			return fmt.Errorf("get the audit: %w", err)
		}
		return a.print(cmd.OutOrStdout(), list.Raw, func(w io.Writer) {
			fmt.Fprintln(w, "TIME\tINDEX\tBY\tACTION\tTARGET\tDETAIL")
			for _, r := range list.Entries {
				fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\n", r.Time, r.Index, r.By, r.Action, r.Target, r.Detail)
			}
			if list.NextCursor != nil {
				fmt.Fprintf(w, "\nolder ones: --cursor %s\n", *list.NextCursor)
			}
		})
	}
	return clientVerb(cmd, &a)
}

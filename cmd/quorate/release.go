package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

func newRelease() *cobra.Command {
	var a asker
	cmd := &cobra.Command{
		Use:   "release ACCOUNT RESERVATION",
		Short: "Release a reservation: give back its requests and tokens",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client(a.urls())
			if err != nil {
				return err
			}
			r, err := c.Release(cmd.Context(), args[0], args[1])
			if err != nil {
				return fmt.Errorf("release %s: %w", args[1], err)
			}
			return a.print(cmd.OutOrStdout(), r.Raw, func(w io.Writer) { printSettled(w, r) })
		},
	}
	return clientVerb(cmd, &a)
}

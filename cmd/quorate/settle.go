package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"quorate/api/wire"
)

func newSettle() *cobra.Command {
	var a asker
	var tokens int64
	req := wire.SettleRequest{}
	cmd := &cobra.Command{
		Use:   "settle ACCOUNT RESERVATION --tokens N [--amount DOLLARS]",
		Short: "Correct a reservation to the tokens used, and record their cost",
		Long: `Correct a reservation to the tokens used, and record their cost.

The command is safe to repeat: the same numbers count once.`,
		Args: cobra.ExactArgs(2),
	}
	cmd.Flags().Int64Var(&tokens, "tokens", -1, "number of tokens used, required")
	cmd.Flags().StringVar(&req.Amount, "amount", "", "cost in `DOLLARS`, such as 0.0123, to record as usage")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if tokens < 0 {
			return usage(errors.New("want --tokens with the number of tokens used"))
		}
		c, err := a.client(a.urls())
		if err != nil {
			return err
		}
		req.Account, req.Reservation, req.Tokens = args[0], args[1], &tokens
		r, err := c.Settle(cmd.Context(), req)
		if err != nil {
			return fmt.Errorf("settle %s: %w", req.Reservation, err)
		}
		return a.print(cmd.OutOrStdout(), r.Raw, func(w io.Writer) { printSettled(w, r) })
	}
	return clientVerb(cmd, &a)
}

func printSettled(w io.Writer, r *wire.SettleResponse) {
	switch {
	case r.Replayed:
		fmt.Fprintln(w, "was settled before")
	case r.Settled:
		fmt.Fprintln(w, "settled")
	default:
		fmt.Fprintln(w, "not settled: "+r.Reason)
	}
	if r.UsageRecorded {
		fmt.Fprintln(w, "usage recorded")
	}
}

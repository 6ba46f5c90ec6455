package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"quorate/api/wire"
)

func newExplain() *cobra.Command {
	var a asker
	var req wire.CheckRequest
	cmd := &cobra.Command{
		Use:   "explain ACCOUNT",
		Short: "Show the rules that lead to a decision; counts nothing",
		Args:  cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&req.Model, "model", "", "model that the request is for")
	cmd.Flags().StringVar(&req.Category, "category", "", "category of the model, if the policy does not know the model")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if req.Model == "" && req.Category == "" {
			return usage(errors.New("want --model or --category"))
		}
		req.Account = args[0]
		c, err := a.client(a.urls())
		if err != nil {
			return err
		}
		e, err := c.Explain(cmd.Context(), req)
		if err != nil {
			return fmt.Errorf("explain %s: %w", req.Account, err)
		}
		return a.print(cmd.OutOrStdout(), e.Raw, func(w io.Writer) {
			fmt.Fprintln(w, "RULE\tOUTCOME\tDETAIL")
			for _, r := range e.Rules {
				fmt.Fprintf(w, "%s\t%s\t%s\n", r.Rule, r.Outcome, r.Detail)
			}
			fmt.Fprintln(w)
			printDecision(w, &e.Decision)
			if e.NextTier != nil {
				fmt.Fprintf(w, "next tier %d\tfor $%s more\n", e.NextTier.Tier, e.NextTier.SpendNeeded)
			}
		})
	}
	return clientVerb(cmd, &a)
}

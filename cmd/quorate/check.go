package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"quorate/api/wire"
)

func newCheck() *cobra.Command {
	var a asker
	var req wire.CheckRequest
	cmd := &cobra.Command{
		Use:     "check ACCOUNT",
		Short:   "Ask whether an account may make a request now, and count it",
		Example: "  quorate check acme --category llm\n  quorate check acme --model black-forest-labs/FLUX.1-dev --dry-run",
		Args:    cobra.ExactArgs(1),
	}
	fs := cmd.Flags()
	fs.StringVar(&req.Model, "model", "", "model that the request is for")
	fs.StringVar(&req.Category, "category", "", "category of the model, if the policy does not know the model")
	fs.Int64Var(&req.Requests, "requests", 1, "number of requests to count")
	fs.Int64Var(&req.Tokens, "tokens", 0, "number of tokens to count")
	fs.BoolVar(&req.DryRun, "dry-run", false, "decide without counting")
	fs.BoolVar(&req.Reserve, "reserve", false, "reserve, and print the reservation to settle or release")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if req.Model == "" && req.Category == "" {
			return usage(errors.New("want --model or --category"))
		}
		if req.DryRun && req.Reserve {
			return usage(errors.New("want --dry-run or --reserve, not both: a dry run takes nothing that could be kept"))
		}
		req.Account = args[0]
		c, err := a.client(a.urls())
		if err != nil {
			return err
		}
		d, err := c.Check(cmd.Context(), req)
		if err != nil {
			return fmt.Errorf("check %s: %w", req.Account, err)
		}
		if err := a.print(cmd.OutOrStdout(), d.Raw, func(w io.Writer) { printDecision(w, d) }); err != nil {
			return err
		}
		if !d.Allowed {
			return errDenied
		}
		return nil
	}
	return clientVerb(cmd, &a)
}

func printDecision(w io.Writer, d *wire.CheckResponse) {
	verdict := "allowed"
	if !d.Allowed {
		verdict = "denied: " + d.Reason
	}
	fmt.Fprintf(w, "%s\taccount %s\ttier %d\t%s\tdecided by %s\n", verdict, d.Account, d.Tier, d.Category, d.DecidedBy)
	if d.RequiredTier != nil && d.SpendNeeded != nil {
		fmt.Fprintf(w, "needs tier %d\t$%s more\n", *d.RequiredTier, *d.SpendNeeded)
	}
	switch {
	case d.NeverFits:
		fmt.Fprintln(w, "larger than the limit: no wait helps")
	case d.RetryAfterMS != nil && *d.RetryAfterMS > 0:
		fmt.Fprintf(w, "retry after %v\n", millis(*d.RetryAfterMS))
	}
	if d.Reservation != "" {
		fmt.Fprintf(w, "reservation %s\n", d.Reservation)
	}
	if d.Degraded {
		fmt.Fprintln(w, "degraded: the owner of the account was not reachable")
	}
	if len(d.Limits) > 0 {
		fmt.Fprintln(w, "\nLIMIT\tREMAINING\tBURST\tWINDOW\tFULL IN\tSOURCE")
	}
	for _, l := range d.Limits {
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%v\t%s\n", l.Name, l.Remaining, l.Burst, l.Window, millis(l.ResetMS), l.Source)
	}
}

func millis(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

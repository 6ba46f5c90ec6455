package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"quorate/api/client"
	"quorate/api/wire"
)

func newAccount() *cobra.Command {
	var a asker
	get := &cobra.Command{
		Use:   "get ACCOUNT",
		Short: "Show an account: its tier, balances and limits",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client(a.urls())
			if err != nil {
				return err
			}
			acc, err := c.Account(cmd.Context(), args[0])
			if err != nil {
				return fmt.Errorf("get account %s: %w", args[0], err)
			}
			return a.print(cmd.OutOrStdout(), acc.Raw, func(w io.Writer) { printAccount(w, acc) })
		},
	}
	return clientVerb(group("account", "Show and change accounts", get, newAccountSet(&a), newAccountList(&a), newAccountDelete(&a)), &a)
}

func printAccount(w io.Writer, acc *wire.AccountResponse) {
	fmt.Fprintf(w, "account\t%s\n", acc.ID)
	fmt.Fprintf(w, "plan\t%s\n", acc.Plan)
	fmt.Fprintf(w, "tier\t%d %s\n", acc.Tier, acc.TierName)
	if acc.NextTier != nil {
		fmt.Fprintf(w, "next tier\t%d, for $%s more\n", acc.NextTier.Tier, acc.NextTier.SpendNeeded)
	}
	fmt.Fprintf(w, "lifetime spend\t$%s\n", acc.LifetimeSpend)
	fmt.Fprintf(w, "credits\t$%s free, $%s purchased\n", acc.Credits.Free, acc.Credits.Purchased)
	fmt.Fprintf(w, "open bill\t$%s\n", acc.OpenBill)
	if acc.UsageLimit != nil {
		fmt.Fprintf(w, "usage limit\t$%s\n", *acc.UsageLimit)
	}
	if acc.BlockedBy != nil {
		fmt.Fprintf(w, "blocked by\t%s\n", *acc.BlockedBy)
	}
	for _, category := range slices.Sorted(maps.Keys(acc.Limits)) {
		for _, l := range acc.Limits[category] {
			fmt.Fprintf(w, "%s\t%d %s per %s\n", category, l.Limit, l.Unit, l.Window)
		}
	}
}

func newAccountList(a *asker) *cobra.Command {
	q := client.AccountsQuery{}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List accounts in byte order, a page at a time",
		Args:  cobra.NoArgs,
	}
	fs := cmd.Flags()
	fs.IntVar(&q.Tier, "tier", -1, "only accounts of this tier")
	fs.IntVar(&q.Limit, "limit", 100, "maximum number of accounts, 1 to 1000")
	fs.StringVar(&q.Cursor, "cursor", "", "next_cursor of the previous page")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := a.client(a.urls())
		if err != nil {
			return err
		}
		page, err := c.Accounts(cmd.Context(), q)
		if err != nil {
			return fmt.Errorf("list accounts: %w", err)
		}
		return a.print(cmd.OutOrStdout(), page.Raw, func(w io.Writer) {
			fmt.Fprintln(w, "ACCOUNT\tPLAN\tTIER\tLIFETIME SPEND\tFREE\tPURCHASED\tOPEN BILL\tBLOCKED BY")
			for _, acc := range page.Accounts {
				blocked := ""
				if acc.BlockedBy != nil {
					blocked = *acc.BlockedBy
				}
				fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n", acc.ID, acc.Plan, acc.Tier, acc.LifetimeSpend,
					acc.Credits.Free, acc.Credits.Purchased, acc.OpenBill, blocked)
			}
			if page.NextCursor != nil {
				fmt.Fprintf(w, "\nnext page: --cursor %s\n", *page.NextCursor)
			}
		})
	}
	return cmd
}

func newAccountDelete(a *asker) *cobra.Command {
	return &cobra.Command{
		Use:   "delete ACCOUNT",
		Short: "Delete an account that has neither credits nor an open bill",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client(a.urls())
			if err != nil {
				return err
			}
			if err := c.Delete(cmd.Context(), args[0]); err != nil {
				return fmt.Errorf("delete account %s: %w", args[0], err)
			}
			return a.print(cmd.OutOrStdout(), []byte("{}"), func(w io.Writer) { fmt.Fprintln(w, "deleted "+args[0]) })
		},
	}
}

// none is the value that removes a usage limit.
const none = "none"

func newAccountSet(a *asker) *cobra.Command {
	var plan, usageLimit string
	var suspended bool
	cmd := &cobra.Command{
		Use:   "set ACCOUNT",
		Short: "Change an account's plan, usage limit or suspension",
		Args:  cobra.ExactArgs(1),
	}
	fs := cmd.Flags()
	fs.StringVar(&plan, "plan", "", "build, scale or enterprise")
	fs.StringVar(&usageLimit, "usage-limit", "", "open bill in dollars at which checks are denied, or "+none)
	fs.BoolVar(&suspended, "suspended", false, "deny every check; --suspended=false ends it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		fields := map[string]any{}
		if fs.Changed("plan") {
			fields["plan"] = plan
		}
		if fs.Changed("usage-limit") {
			fields["usage_limit"] = usageLimit
			if usageLimit == none {
				fields["usage_limit"] = nil
			}
		}
		if fs.Changed("suspended") {
			fields["suspended"] = suspended
		}
		if len(fields) == 0 {
			return usage(errors.New("want --plan, --usage-limit or --suspended"))
		}
		c, err := a.client(a.urls())
		if err != nil {
			return err
		}
		acc, err := c.Patch(cmd.Context(), args[0], fields)
		if err != nil {
			return fmt.Errorf("set account %s: %w", args[0], err)
		}
		return a.print(cmd.OutOrStdout(), acc.Raw, func(w io.Writer) { printAccount(w, acc) })
	}
	return cmd
}

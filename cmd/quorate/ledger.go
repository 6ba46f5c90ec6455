package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"quorate/api/wire"
)

func newLedger() *cobra.Command {
	var a asker
	return clientVerb(group("ledger", "Record money",
		entryVerb(&a, "purchase", "Record that credits were bought"),
		entryVerb(&a, "free_credit", "Give free credits, which never count as spend"),
		entryVerb(&a, "usage", "Charge usage to the credits, then to the open bill"),
		entryVerb(&a, "payment", "Record a payment of the open bill"),
		entryVerb(&a, "refund", "Take purchased credits back"),
		entryVerb(&a, "chargeback", "Record money that was taken back from outside, spent or not"),
		entryVerb(&a, "usage_reversal", "Take usage back that was wrong"),
		newImport(&a),
	), &a)
}

// entryVerb returns the verb for a type of entry.
func entryVerb(a *asker, entryType, short string) *cobra.Command {
	var key, issued string
	cmd := &cobra.Command{
		Use:   strings.ReplaceAll(entryType, "_", "-") + " ACCOUNT AMOUNT --key KEY",
		Short: short,
		Long: short + ` (US dollars, such as 12.50).

The key makes it safe to repeat the command: the same key with the same amount
is applied once, for as long as the cluster remembers the key. With --issued-at, which
a repetition must repeat, it is refused and not applied once the key may be forgotten.`,
		Args: cobra.ExactArgs(2),
	}
	cmd.Flags().StringVar(&key, "key", "", "idempotency `KEY` of this entry, required")
	cmd.Flags().StringVar(&issued, "issued-at", "", "`TIME` in RFC 3339 at which the entry was first sent")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if key == "" {
			return usage(errors.New("want --key, an idempotency key that is this entry's alone"))
		}
		if _, err := time.Parse(time.RFC3339, issued); issued != "" && err != nil {
			return usage(fmt.Errorf("--issued-at %q: want a time in RFC 3339, such as 2026-01-31T12:00:00Z", issued))
		}
		c, err := a.client(a.urls())
		if err != nil {
			return err
		}
		account := args[0]
		r, err := c.Entry(cmd.Context(), account, wire.EntryRequest{Key: key, Type: entryType, Amount: args[1], IssuedAt: issued})
		if err != nil {
			return fmt.Errorf("record %s %s for %s: %w", entryType, args[1], account, err)
		}
		return a.print(cmd.OutOrStdout(), r.Raw, func(w io.Writer) {
			state := "applied"
			if r.Replayed {
				state = "was applied before"
			}
			fmt.Fprintf(w, "%s $%s\t%s at index %d\n", r.Entry.Type, r.Entry.Amount, state, r.Entry.Index)
			printAccount(w, &r.Account)
		})
	}
	return cmd
}

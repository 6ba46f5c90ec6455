package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"quorate/cmd/node"
)

func newToken() *cobra.Command {
	var a asker
	return clientVerb(group("token", "Create, list and revoke tokens",
		tokenCreate(&a), tokenList(&a), tokenRevoke(&a), tokenGenerate()), &a)
}

func tokenCreate(a *asker) *cobra.Command {
	var scopes []string
	cmd := &cobra.Command{
		Use:   "create NAME --scopes A,B",
		Short: "Create a token and print its secret, which is shown only once",
		Long: `Create a token and print its secret, which is shown only once.

Scopes: check (check, settle, release), ledger (record money), read (read
accounts, policy and cluster), admin (everything).`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringSliceVar(&scopes, "scopes", nil, "what the token allows: check, ledger, read, admin")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(scopes) == 0 {
			return usage(fmt.Errorf("--scopes: want at least one of check, ledger, read, admin"))
		}
		c, err := a.client(a.urls())
		if err != nil {
			return err
		}
		t, err := c.CreateToken(cmd.Context(), args[0], scopes)
		if err != nil {
			return fmt.Errorf("create token %s: %w", args[0], err)
		}
		return a.print(cmd.OutOrStdout(), t.Raw, func(w io.Writer) {
			fmt.Fprintf(w, "NAME\tSCOPES\tSECRET\n%s\t%s\t%s\n", t.Name, strings.Join(t.Scopes, ","), t.Secret)
		})
	}
	return cmd
}

func tokenList(a *asker) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the tokens, without their secrets",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client(a.urls())
			if err != nil {
				return err
			}
			list, err := c.Tokens(cmd.Context())
			if err != nil {
				return fmt.Errorf("list tokens: %w", err)
			}
			return a.print(cmd.OutOrStdout(), list.Raw, func(w io.Writer) {
				fmt.Fprintln(w, "NAME\tSCOPES\tCREATED")
				for _, t := range list.Tokens {
					created := "-"
					if t.Created != nil {
						created = *t.Created
					}
					fmt.Fprintf(w, "%s\t%s\t%s\n", t.Name, strings.Join(t.Scopes, ","), created)
				}
			})
		},
	}
}

func tokenRevoke(a *asker) *cobra.Command {
	return &cobra.Command{
		Use:   "revoke NAME",
		Short: "Revoke a token on every node",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client(a.urls())
			if err != nil {
				return err
			}
			if err := c.RevokeToken(cmd.Context(), args[0]); err != nil {
				return fmt.Errorf("revoke token %s: %w", args[0], err)
			}
			return a.print(cmd.OutOrStdout(), []byte(`{"revoked":true}`), func(w io.Writer) { fmt.Fprintln(w, "revoked") })
		},
	}
}

func tokenGenerate() *cobra.Command {
	return &cobra.Command{
		Use:   "generate",
		Short: "Print a new secret for --admin-token-file; asks no node",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), node.NewAdminToken())
			return err
		},
	}
}

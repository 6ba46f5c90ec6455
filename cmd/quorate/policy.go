package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"quorate/api/client"
)

func newPolicy() *cobra.Command {
	var a asker
	return clientVerb(group("policy", "Show and change tiers, limits and models",
		policyGet(&a), policySet(&a), policyValidate(&a), policyDiff(&a)), &a)
}

func policyGet(a *asker) *cobra.Command {
	return &cobra.Command{
		Use:   "get",
		Short: "Print the policy in force: the document, or with -o json its parsed form",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client(a.urls())
			if err != nil {
				return err
			}
			if a.output == rawJSON {
				p, err := c.Policy(cmd.Context())
				if err != nil {
					return fmt.Errorf("get policy: %w", err)
				}
				return a.print(cmd.OutOrStdout(), p.Raw, nil)
			}
			doc, err := c.PolicyDocument(cmd.Context())
			if err != nil {
				return fmt.Errorf("get policy: %w", err)
			}
			_, err = cmd.OutOrStdout().Write(doc)
			return err
		},
	}
}

func policySet(a *asker) *cobra.Command {
	var revision uint64
	cmd := &cobra.Command{
		Use:   "set FILE",
		Short: "Replace the policy by a YAML or JSON file (- is stdin)",
		Args:  cobra.ExactArgs(1),
	}
	cmd.Flags().Uint64Var(&revision, "if-revision", 0, "replace the policy only if it has this `REVISION`")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		doc, err := readDocument(cmd, args[0])
		if err != nil {
			return err
		}
		c, err := a.client(a.urls())
		if err != nil {
			return err
		}
		p, err := c.SetPolicy(cmd.Context(), doc, revision)
		if err != nil {
			return fmt.Errorf("set policy: %w", withFaults(err))
		}
		return a.print(cmd.OutOrStdout(), p.Raw, func(w io.Writer) { fmt.Fprintf(w, "revision %d is in force\n", p.Revision) })
	}
	return cmd
}

func policyValidate(a *asker) *cobra.Command {
	return &cobra.Command{
		Use:   "validate FILE",
		Short: "Report the errors of a policy; changes nothing",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, _, err := validated(cmd, a, args[0]); err != nil {
				return err
			}
			return a.print(cmd.OutOrStdout(), []byte(`{"valid":true}`), func(w io.Writer) { fmt.Fprintln(w, "valid") })
		},
	}
}

func policyDiff(a *asker) *cobra.Command {
	return &cobra.Command{
		Use:   "diff FILE",
		Short: "Show what a policy would change; changes nothing",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, doc, err := validated(cmd, a, args[0])
			if err != nil {
				return err
			}
			was, err := c.PolicyDocument(cmd.Context())
			if err != nil {
				return fmt.Errorf("get policy: %w", err)
			}
			list, err := differences(was, doc)
			if err != nil {
				return err
			}
			raw, err := json.Marshal(struct {
				Differences []difference `json:"differences"`
			}{list})
			if err != nil {
				return err
			}
			return a.print(cmd.OutOrStdout(), raw, func(w io.Writer) { printDiff(w, list) })
		},
	}
}

// validated reads a policy and checks that the cluster accepts it.
func validated(cmd *cobra.Command, a *asker, name string) (*client.Client, []byte, error) {
	doc, err := readDocument(cmd, name)
	if err != nil {
		return nil, nil, err
	}
	c, err := a.client(a.urls())
	if err != nil {
		return nil, nil, err
	}
	if err := c.ValidatePolicy(cmd.Context(), doc); err != nil {
		return nil, nil, fmt.Errorf("validate %s: %w", name, withFaults(err))
	}
	return c, doc, nil
}

// maxDocument bounds what is read. It is above the limit of policies, which the cluster
// checks.
const maxDocument = 8 << 20

func readDocument(cmd *cobra.Command, name string) ([]byte, error) {
	in := cmd.InOrStdin()
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	doc, err := io.ReadAll(io.LimitReader(in, maxDocument))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return doc, nil
}

// withFaults adds the details of a refusal to its text.
func withFaults(err error) error {
	var e *client.Error
	if !errors.As(err, &e) || len(e.Errors) == 0 {
		return err
	}
	lines := []string{err.Error()}
	for _, f := range e.Errors {
		lines = append(lines, strings.TrimPrefix(f.Path+": "+f.Message, ": "))
	}
	return fmt.Errorf("%w: %s", err, strings.Join(lines[1:], "; "))
}

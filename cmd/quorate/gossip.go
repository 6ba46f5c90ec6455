package main

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"

	"github.com/spf13/cobra"
)

func newGossip() *cobra.Command {
	return group("gossip", "Create keys for the gossip between nodes", &cobra.Command{
		Use:   "keygen",
		Short: "Print a new key for --gossip-key-file",
		Long: `Print a new key for the file that --gossip-key-file names.

To replace a key while the nodes run: add the new key as the last line of each
node's file. When all files have it, move it to the first line of each file. When
that is done in all files, remove the old key. Nodes reload the file by themselves.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			key := make([]byte, 32)
			_, _ = rand.Read(key) // never fails
			_, err := fmt.Fprintln(cmd.OutOrStdout(), base64.StdEncoding.EncodeToString(key))
			return err
		},
	})
}

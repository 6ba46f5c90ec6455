package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
)

func newBackup() *cobra.Command {
	var a asker
	var stale bool
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write the accounts, the policy and the keys of the cluster to a file",
		Long: `Write a backup of the cluster to a file: accounts, policy and idempotency keys
as they stand at one moment. The file appears whole or not at all.`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().BoolVar(&stale, "stale", false, "back up the state of the asked node, even if no majority is reachable")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client(a.urls())
		if err != nil {
			return err
		}
		bar := bytesBar(cmd.ErrOrStderr(), -1, "backup")
		var n int64
		err = atomically(args[0], func(f io.Writer) (err error) {
			n, err = c.Backup(cmd.Context(), io.MultiWriter(f, bar), stale)
			return err
		})
		if err = errors.Join(err, bar.Finish()); err != nil {
			return fmt.Errorf("back up to %s: %w", args[0], err)
		}
		raw := fmt.Appendf(nil, `{"file":%q,"bytes":%d}`, args[0], n)
		return a.print(cmd.OutOrStdout(), raw, func(w io.Writer) { fmt.Fprintf(w, "%d bytes written to %s\n", n, args[0]) })
	}
	return clientVerb(cmd, &a)
}

// bytesBar returns a progress bar that counts bytes. It is shown on a terminal only. most
// is -1 if the total is unknown.
func bytesBar(to io.Writer, most int64, what string) *progressbar.ProgressBar {
	return progressbar.NewOptions64(most, progressbar.OptionSetWriter(to), progressbar.OptionShowBytes(true),
		progressbar.OptionSetDescription(what), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetVisibility(terminal(to)), progressbar.OptionClearOnFinish())
}

// atomically writes a temporary file in the directory of name, syncs it and renames it to
// name.
func atomically(name string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

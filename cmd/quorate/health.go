package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"quorate/api/client"
)

var errUnhealthy = errors.New("not healthy")

// healthTimeout is below the usual timeout of health checks of container engines.
const healthTimeout = 2 * time.Second

func newHealth() *cobra.Command {
	var a asker
	var ready bool
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Report by the exit code whether the first endpoint is alive",
		Long: `Ask the first endpoint, and no other, whether its process is alive, or with
--ready whether it is ready. Meant for the health checks of containers.`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&ready, "ready", false, "ask whether the node is ready")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, cancel := context.WithTimeout(cmd.Context(), healthTimeout)
		defer cancel()
		first, path := a.urls()[0], "/livez"
		if ready {
			path = "/readyz"
		}
		security, err := a.tls()
		if err != nil {
			return err
		}
		if err := probe(ctx, first+path, security); err != nil {
			return err
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), "ok")
		return err
	}
	return clientVerb(cmd, &a)
}

// probe requests a URL and checks only the status. The paths that it is used for need no
// token.
func probe(ctx context.Context, url string, security *tls.Config) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return usage(err)
	}
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: security, DisableKeepAlives: true}}
	resp, err := c.Do(req)
	if err != nil {
		return fmt.Errorf("%w: %w", client.ErrUnavailable, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %w: status %d", url, errUnhealthy, resp.StatusCode)
	}
	return nil
}

package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"quorate/api/wire"
)

// Backup writes a backup of the cluster to w and returns its size in bytes. The backup
// contains every write acknowledged before the call; with stale, it contains what one
// node has applied, which needs no majority. Backup tries another endpoint only while it
// has written nothing. After an error, w has received an incomplete backup.
func (c *Client) Backup(ctx context.Context, w io.Writer, stale bool) (n int64, err error) {
	path := "/v1/backup"
	if !stale {
		path += "?consistency=strong"
	}
	err = c.each(ctx, func(endpoint string) (bool, error) {
		resp, err := c.open(ctx, http.MethodGet, endpoint+path, nil, 0)
		if err != nil {
			return true, err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return resp.StatusCode == http.StatusServiceUnavailable, problemOf(resp)
		}
		n, err = io.Copy(w, resp.Body)
		return n == 0, err
	})
	return n, err
}

// Restore restores a backup on all nodes; with dry it only verifies the backup and
// describes its content. Restore calls open for each endpoint that it tries; open
// returns the backup, of the given size in bytes. Restore returns when the restore is
// complete, which takes seconds for each hundred megabytes.
func (c *Client) Restore(ctx context.Context, size int64, open func() (io.ReadCloser, error), dry bool) (*wire.Restored, error) {
	path := "/v1/restore"
	if dry {
		path += "?dry_run=true"
	}
	var out *wire.Restored
	err := c.each(ctx, func(endpoint string) (bool, error) {
		body, err := open()
		if err != nil {
			return false, err
		}
		resp, err := c.open(ctx, http.MethodPost, endpoint+path, body, size)
		if err != nil {
			return true, err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return resp.StatusCode == http.StatusServiceUnavailable, problemOf(resp)
		}
		a, err := read(resp)
		if err != nil {
			return false, err
		}
		out = &wire.Restored{Raw: a.body}
		return false, a.into(out)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// each calls send for one endpoint after the other, while send returns an error and next.
func (c *Client) each(ctx context.Context, send func(endpoint string) (next bool, err error)) error {
	first := int(c.at.Load())
	failures := []error{ErrUnavailable}
	for i := range c.cfg.Endpoints {
		at := (first + i) % len(c.cfg.Endpoints)
		next, err := send(c.endpoint(at))
		if err == nil {
			c.at.Store(uint32(at))
			return nil
		}
		if !next {
			return err
		}
		failures = append(failures, fmt.Errorf("%s: %w", c.cfg.Endpoints[at], err))
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(failures...)
}

// open sends a request without a timeout.
func (c *Client) open(ctx context.Context, method, url string, body io.ReadCloser, size int64) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Body, req.ContentLength = body, size
		req.Header.Set("Content-Type", wire.TypeBackup)
	}
	c.authorize(req)
	return (&http.Client{Transport: c.http.Transport}).Do(req)
}

func problemOf(resp *http.Response) error {
	a, err := read(resp)
	if err != nil {
		return err
	}
	return a.problem()
}

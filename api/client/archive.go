package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"quorate/api/wire"
)

// Backup writes a backup of the cluster to w, and returns how many bytes of it
// there are. It holds every write acknowledged before the call; with stale, what
// the node that is asked has applied, which needs no majority. Another endpoint
// is asked only while nothing was written. What was written is whole only when
// the error is nil; it ends in a checksum all the same.
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

// Restore replaces what a backup holds by it, on all nodes; with dry nothing is
// changed and the backup only looked at. open is called for each endpoint that
// is asked and returns the backup's bytes, of which there are size. It answers
// when the change is made, which takes seconds for every hundred megabytes.
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

// each asks one endpoint after the other while the last says that another may.
func (c *Client) each(ctx context.Context, ask func(endpoint string) (next bool, err error)) error {
	first := int(c.at.Load())
	failures := []error{ErrUnavailable}
	for i := range c.cfg.Endpoints {
		at := (first + i) % len(c.cfg.Endpoints)
		next, err := ask(c.endpoint(at))
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

// open sends a request whose bodies may take as long as they need.
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

package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"quorate/api/client"
)

// Environment variables of the client verbs.
const (
	envEndpoints = envPrefix + "ENDPOINTS"
	envToken     = envPrefix + "TOKEN"
)

const (
	defaultEndpoint = "http://127.0.0.1:8081"
	askTime         = 10 * time.Second // a write may take 5 s to learn that there is no quorum
)

// output is how a client verb prints an answer.
type output string

const (
	table   output = "table"
	rawJSON output = "json"
)

// String, Set and Type make output a flag.
func (o *output) String() string { return string(*o) }

// Set accepts table and json.
func (o *output) Set(s string) error {
	switch output(s) {
	case table, rawJSON:
		*o = output(s)
		return nil
	}
	return errors.New("want table or json")
}

// Type is shown in help texts.
func (o *output) Type() string { return "FORMAT" }

// asker is what the client verbs have in common: whom to ask and how to print.
type asker struct {
	endpoints []string
	token     string
	output    output
}

// clientVerb adds the common flags to a verb and all below it.
func clientVerb(cmd *cobra.Command, a *asker) *cobra.Command {
	a.output = table
	fs := cmd.PersistentFlags()
	fs.StringSliceVar(&a.endpoints, "endpoints", nil,
		"nodes `A,B,C` to ask, the next when one fails ($"+envEndpoints+", default "+defaultEndpoint+")")
	fs.StringVar(&a.token, "token", "", "bearer `TOKEN` ($"+envToken+")")
	fs.VarP(&a.output, "output", "o", "table or json")
	return cmd
}

// urls returns the endpoints to ask, as URLs.
func (a *asker) urls() []string {
	list := a.endpoints
	if len(list) == 0 {
		list = strings.Split(cmp.Or(os.Getenv(envEndpoints), defaultEndpoint), ",")
	}
	var urls []string
	for _, e := range list {
		e = strings.TrimRight(strings.TrimSpace(e), "/")
		if e == "" {
			continue
		}
		if !strings.Contains(e, "://") {
			e = "http://" + e
		}
		urls = append(urls, e)
	}
	if len(urls) == 0 {
		return []string{defaultEndpoint}
	}
	return urls
}

func (a *asker) client(endpoints []string) (*client.Client, error) {
	return a.patient(endpoints, askTime)
}

// patient is client for requests that may take longer.
func (a *asker) patient(endpoints []string, most time.Duration) (*client.Client, error) {
	c, err := client.New(client.Config{
		Endpoints: endpoints,
		Token:     cmp.Or(a.token, os.Getenv(envToken)),
		Timeout:   most,
	})
	if err != nil {
		return nil, usage(fmt.Errorf("--endpoints %s: %w", strings.Join(endpoints, ","), err))
	}
	return c, nil
}

// print writes an answer: the body as it came, or what human writes in
// columns.
func (a *asker) print(w io.Writer, raw json.RawMessage, human func(io.Writer)) error {
	if a.output == rawJSON {
		_, err := fmt.Fprintf(w, "%s\n", strings.TrimRight(string(raw), "\n"))
		return err
	}
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	human(columns)
	return columns.Flush()
}

package main

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
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
	envTLSCA     = envPrefix + "TLS_CA"
	envTLSCert   = envPrefix + "TLS_CERT"
	envTLSKey    = envPrefix + "TLS_KEY"
)

const (
	defaultEndpoint = "127.0.0.1:8081"
	askTime         = 10 * time.Second // a write may take 5 s to learn that there is no quorum
)

// output is the format in which a client verb prints an answer.
type output string

const (
	table   output = "table"
	rawJSON output = "json"
)

// String, Set and Type implement pflag.Value.
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

// Type returns the text that help shows.
func (o *output) Type() string { return "FORMAT" }

// asker holds the flags that all client verbs have: endpoints, credentials and output.
type asker struct {
	endpoints []string
	token     string
	output    output

	ca, cert, key string // files
}

// clientVerb adds the flags of all client verbs to a verb and those below it.
func clientVerb(cmd *cobra.Command, a *asker) *cobra.Command {
	a.output = table
	fs := cmd.PersistentFlags()
	fs.StringSliceVar(&a.endpoints, "endpoints", nil,
		"nodes `A,B,C` to ask, the next when one fails ($"+envEndpoints+", default "+defaultEndpoint+"); without a scheme http, or https with a CA")
	fs.StringVar(&a.token, "token", "", "bearer `TOKEN` ($"+envToken+")")
	fs.StringVar(&a.ca, "tls-ca", "", "`FILE` with the CA of the nodes' certificates ($"+envTLSCA+")")
	fs.StringVar(&a.cert, "tls-cert", "", "`FILE` with the client certificate ($"+envTLSCert+")")
	fs.StringVar(&a.key, "tls-key", "", "`FILE` with the key of the client certificate ($"+envTLSKey+")")
	fs.VarP(&a.output, "output", "o", "table or json")
	return cmd
}

// urls returns the endpoints as URLs.
func (a *asker) urls() []string {
	list := a.endpoints
	if len(list) == 0 {
		list = strings.Split(cmp.Or(os.Getenv(envEndpoints), defaultEndpoint), ",")
	}
	scheme := "http://"
	if cmp.Or(a.ca, os.Getenv(envTLSCA)) != "" {
		scheme = "https://"
	}
	var urls []string
	for _, e := range list {
		e = strings.TrimRight(strings.TrimSpace(e), "/")
		if e == "" {
			continue
		}
		if !strings.Contains(e, "://") {
			e = scheme + e
		}
		urls = append(urls, e)
	}
	if len(urls) == 0 {
		return []string{scheme + defaultEndpoint}
	}
	return urls
}

func (a *asker) client(endpoints []string) (*client.Client, error) {
	return a.patient(endpoints, askTime)
}

// patient returns a client for requests that may take up to most.
func (a *asker) patient(endpoints []string, most time.Duration) (*client.Client, error) {
	security, err := a.tls()
	if err != nil {
		return nil, err
	}
	c, err := client.New(client.Config{
		Endpoints: endpoints,
		Token:     cmp.Or(a.token, os.Getenv(envToken)),
		TLS:       security,
		Timeout:   most,
	})
	if err != nil {
		return nil, usage(fmt.Errorf("--endpoints %s: %w", strings.Join(endpoints, ","), err))
	}
	return c, nil
}

// tls returns the TLS configuration of the flags and the environment, nil if none is set.
func (a *asker) tls() (*tls.Config, error) {
	ca, cert, key := cmp.Or(a.ca, os.Getenv(envTLSCA)), cmp.Or(a.cert, os.Getenv(envTLSCert)), cmp.Or(a.key, os.Getenv(envTLSKey))
	if (cert == "") != (key == "") {
		return nil, usage(errors.New("want both --tls-cert and --tls-key, or none"))
	}
	if ca == "" && cert == "" {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, usage(fmt.Errorf("--tls-ca: %w", err))
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, usage(fmt.Errorf("--tls-ca %s: there is no certificate in it", ca))
		}
	}
	if cert != "" {
		own, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, usage(fmt.Errorf("--tls-cert, --tls-key: %w", err))
		}
		c.Certificates = []tls.Certificate{own}
	}
	return c, nil
}

// print writes an answer: the body as received, or in columns as human writes it.
func (a *asker) print(w io.Writer, raw json.RawMessage, human func(io.Writer)) error {
	if a.output == rawJSON {
		_, err := fmt.Fprintf(w, "%s\n", strings.TrimRight(string(raw), "\n"))
		return err
	}
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	human(columns)
	return columns.Flush()
}

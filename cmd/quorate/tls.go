package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// maxDays bounds --days.
const maxDays = 36500

func newTLS() *cobra.Command {
	return group("tls", "Create certificates for nodes and clients", tlsCA(), tlsCert())
}

func tlsCA() *cobra.Command {
	var dir, name string
	var days int
	cmd := &cobra.Command{
		Use:   "ca",
		Short: "Create a CA: ca.pem for all nodes and clients, ca-key.pem to sign certificates",
		Args:  cobra.NoArgs,
	}
	fs := cmd.Flags()
	fs.StringVar(&dir, "dir", ".", "`DIR` to write to, created if missing")
	fs.StringVar(&name, "name", "quorate", "`NAME` of the CA")
	fs.IntVar(&days, "days", 3650, "number of days that it is valid")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkDays(days); err != nil {
			return err
		}
		p, err := newAuthority(name, days, time.Now())
		if err != nil {
			return err
		}
		return writePair(cmd, dir, "ca", p)
	}
	return cmd
}

func tlsCert() *cobra.Command {
	var dir, ca, caKey, as string
	o := certRequest{}
	cmd := &cobra.Command{
		Use:   "cert NAME",
		Short: "Create a certificate: NAME.pem and NAME-key.pem",
		Long: `Create a certificate that is signed by the CA of "quorate tls ca".

A node needs a certificate of the role node, for its API and for the peer ports of
the other nodes. It is valid for localhost and for the names of --host. Clients of
the API verify the name; nodes verify only the role of each other. A certificate of
the role client is for clients of nodes with --tls-client-auth; peer ports refuse it.`,
		Example: "  quorate tls cert n1 --role node --host n1.example.com,10.0.0.1",
		Args:    cobra.ExactArgs(1),
	}
	fs := cmd.Flags()
	fs.StringVar(&dir, "dir", ".", "`DIR` to write to, created if missing")
	fs.StringVar(&ca, "ca", "ca.pem", "`FILE` with the CA's certificate")
	fs.StringVar(&caKey, "ca-key", "ca-key.pem", "`FILE` with the CA's key")
	fs.StringVar(&as, "role", "", "node or client")
	fs.StringSliceVar(&o.hosts, "host", nil, "names and addresses `A,B` of the API")
	fs.IntVar(&o.days, "days", 365, "number of days that it is valid")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o.name, o.role = args[0], role(as)
		if o.name == "" || len(o.name) > 64 || strings.ContainsAny(o.name, `/\`) || o.name[0] == '.' || o.name == "ca" {
			return usage(fmt.Errorf("name %q: want a file's name of at most 64 bytes, other than ca", o.name))
		}
		if o.role != roleNode && o.role != roleClient {
			return usage(fmt.Errorf("--role %q: want node or client", as))
		}
		if err := checkDays(o.days); err != nil {
			return err
		}
		a, err := loadAuthority(ca, caKey)
		if err != nil {
			return fmt.Errorf("read the CA (create one with `quorate tls ca`): %w", err)
		}
		p, err := a.certificate(o, time.Now())
		if err != nil {
			return usage(err)
		}
		return writePair(cmd, dir, o.name, p)
	}
	return cmd
}

func checkDays(days int) error {
	if days < 1 || days > maxDays {
		return usage(fmt.Errorf("--days %d: want 1 to %d", days, maxDays))
	}
	return nil
}

func loadAuthority(ca, key string) (*authority, error) {
	var p pair
	var err error
	if p.cert, err = os.ReadFile(ca); err != nil {
		return nil, err
	}
	if p.key, err = os.ReadFile(key); err != nil {
		return nil, err
	}
	return readAuthority(p)
}

// writePair writes a certificate and its key, which only the owner may read. It does not
// overwrite files.
func writePair(cmd *cobra.Command, dir, name string, p pair) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	cert, key := filepath.Join(dir, name+".pem"), filepath.Join(dir, name+"-key.pem")
	if err := writeNew(key, p.key, 0o600); err != nil {
		return err
	}
	if err := writeNew(cert, p.cert, 0o644); err != nil {
		return errors.Join(err, os.Remove(key))
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n%s\n", cert, key)
	return err
}

func writeNew(path string, b []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already; remove it, or write to another --dir", path)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Close())
}

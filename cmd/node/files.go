package node

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
)

// maxSecretFile bounds a file with certificates, keys or tokens.
const maxSecretFile = 1 << 20

// source is a set of files that are loaded together. It is not safe for concurrent use.
type source struct {
	name  string
	paths []string
	// load puts the contents in force. On an error the previous ones remain in force.
	load func(contents [][]byte) error

	seen [][]byte // contents at the last refresh; nil: none yet
}

// refresh reads the files and loads them if they have changed.
func (s *source) refresh() (changed bool, err error) {
	contents := make([][]byte, len(s.paths))
	for i, path := range s.paths {
		if contents[i], err = readSecret(path); err != nil {
			return false, err
		}
	}
	if s.seen != nil && slices.EqualFunc(s.seen, contents, bytes.Equal) {
		return false, nil
	}
	s.seen = contents
	return true, s.load(contents)
}

func readSecret(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err == nil && len(b) > maxSecretFile {
		err = fmt.Errorf("%s has more than %d bytes", path, maxSecretFile)
	}
	return b, err
}

// refreshAll refreshes every source and logs the outcome. Contents that cannot be used
// are logged once; the previous ones remain in force.
func refreshAll(sources []*source, log *slog.Logger) {
	for _, s := range sources {
		changed, err := s.refresh()
		switch {
		case changed && err == nil:
			log.Info("read again", "what", s.name)
		case changed:
			log.Error("changed and cannot be used; what was there before stays in force", "what", s.name, "err", err)
		case err != nil:
			log.Warn("cannot be read again", "what", s.name, "err", err)
		}
	}
}

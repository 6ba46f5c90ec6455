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

// source is a set of files that belong together, and what is made of them. One
// goroutine at a time looks at it.
type source struct {
	name  string
	paths []string
	// take takes the contents over. An error leaves what is in force.
	take func(contents [][]byte) error

	seen [][]byte // contents at the last look; nil: never
}

// look reads the files and takes them over if they have changed.
func (s *source) look() (changed bool, err error) {
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
	return true, s.take(contents)
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

// again looks at every source and says in the log what came of it. What cannot
// be used is told of once, and what is in force stays.
func again(sources []*source, log *slog.Logger) {
	for _, s := range sources {
		changed, err := s.look()
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

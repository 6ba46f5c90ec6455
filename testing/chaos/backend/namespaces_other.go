//go:build !linux

package backend

import (
	"fmt"
	"testing"
)

// Namespaces are for Linux.
type Namespaces struct{ *Processes }

// NewNamespaces says so.
func NewNamespaces(testing.TB, int, Program) (*Namespaces, error) {
	return nil, fmt.Errorf("namespaces: not on Linux: %w", ErrCannot)
}

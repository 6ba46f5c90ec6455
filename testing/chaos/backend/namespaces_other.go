//go:build !linux

package backend

import (
	"fmt"
	"testing"
)

// Namespaces exists only on Linux.
type Namespaces struct{ *Processes }

// NewNamespaces returns ErrCannot.
func NewNamespaces(testing.TB, int, Program) (*Namespaces, error) {
	return nil, fmt.Errorf("namespaces: not on Linux: %w", ErrCannot)
}

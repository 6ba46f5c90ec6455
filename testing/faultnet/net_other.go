//go:build !linux

package faultnet

import "fmt"

// Net is for Linux.
type Net struct{}

// Probe says so.
func Probe(Place) error { return fmt.Errorf("not on Linux: %w", ErrCannot) }

// Open says so.
func Open([]Place, Config) (*Net, error) { return nil, Probe(Place{}) }

// Counts is of none.
func (*Net) Counts() Counts { return Counts{} }

// Close has nothing to undo.
func (*Net) Close() error { return nil }

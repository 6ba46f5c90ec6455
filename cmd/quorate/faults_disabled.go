//go:build !faultinject

package main

// injectFaults does nothing without the build tag faultinject.
func injectFaults() error { return nil }

//go:build !faultinject

package main

// injectFaults is for builds with the tag faultinject.
func injectFaults() error { return nil }

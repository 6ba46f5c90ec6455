//go:build faultinject

package main

import (
	"fmt"
	"os"

	"quorate/cmd/node"
)

const envFault = envPrefix + "FAULT"

// injectFaults injects the faults that the environment selects.
func injectFaults() error {
	list := os.Getenv(envFault)
	if list == "" {
		return nil
	}
	if err := node.InjectFaults(list); err != nil {
		return usage(fmt.Errorf("%s: %w", envFault, err))
	}
	return nil
}

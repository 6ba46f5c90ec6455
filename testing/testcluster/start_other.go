//go:build !linux

package testcluster

import "os/exec"

func startBound(cmd *exec.Cmd) error { return cmd.Start() }

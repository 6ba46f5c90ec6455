//go:build !linux

package main

import "syscall"

// bound could only tie a process to this one on Linux; elsewhere a cluster
// whose dev was killed must be killed node by node.
func bound() *syscall.SysProcAttr { return nil }

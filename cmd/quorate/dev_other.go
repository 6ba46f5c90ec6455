//go:build !linux

package main

import "syscall"

// bound returns no attributes: only Linux can kill a process when this one exits. Without
// it, the nodes of a dev that was killed must be killed one by one.
func bound() *syscall.SysProcAttr { return nil }

package main

import "syscall"

// bound makes a process end with this one, and keeps Ctrl-C from reaching it
// directly: it would be a second signal to a node that we already asked to
// stop.
func bound() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

package testcluster

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// starts carries processes to the one thread that starts them all. The kernel
// sends a child its Pdeathsig when the thread that started it ends, which in
// Go can be at any time unless a goroutine holds on to it.
var starts = sync.OnceValue(func() chan<- func() {
	ch := make(chan func())
	go func() {
		runtime.LockOSThread()
		for fn := range ch {
			fn()
		}
	}()
	return ch
})

// startBound starts a process that dies with this one, however this one
// ends: a test that is killed leaves no nodes behind.
func startBound(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	done := make(chan error)
	starts() <- func() { done <- cmd.Start() }
	return <-done
}

package main

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"quorate/api/client"
	"quorate/cmd/node"
)

// The exit codes. Scripts depend on them.
const (
	exitOK          = 0
	exitError       = 1
	exitUsage       = 2
	exitDenied      = 3
	exitUnavailable = 4
)

var (
	errUsage  = errors.New("usage")
	errDenied = errors.New("denied") // the decision was printed; there is nothing to add
)

// usageError marks an error of the command line, the environment or the configuration
// file. It adds nothing to the text.
type usageError struct{ error }

func (usageError) Is(target error) bool { return target == errUsage }
func (e usageError) Unwrap() error      { return e.error }

func usage(err error) error { return usageError{err} }

// exitCode returns the exit code for an error. No other function decides on it.
func exitCode(err error) int {
	var answer *client.Error
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errUsage), errors.Is(err, node.ErrConfig):
		return exitUsage
	case errors.Is(err, errDenied):
		return exitDenied
	case errors.Is(err, client.ErrUnavailable), errors.Is(err, errUnhealthy):
		return exitUnavailable
	case errors.As(err, &answer) && answer.Status == http.StatusServiceUnavailable:
		return exitUnavailable
	}
	return exitError
}

// errorLine returns the line for stderr that reports err, or "".
func errorLine(cmd *cobra.Command, err error) string {
	if err == nil || errors.Is(err, errDenied) {
		return ""
	}
	// Errors of libraries can have several lines; logs and scripts expect one.
	var parts []string
	for line := range strings.Lines(err.Error()) {
		if line = strings.Join(strings.Fields(line), " "); line != "" {
			parts = append(parts, line)
		}
	}
	text := strings.Join(parts, "; ")
	if errors.Is(err, errUsage) && cmd != nil {
		text = fmt.Sprintf("%s (see %s --help)", text, cmd.CommandPath())
	}
	return "quorate: " + text
}

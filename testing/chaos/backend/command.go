package backend

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// within is how long a command may take.
const within = 60 * time.Second

// run runs a command.
func run(args ...string) error {
	_, err := output(args...)
	return err
}

// lines runs commands one after the other. It splits each at spaces.
func lines(all ...string) error {
	for _, line := range all {
		if err := run(strings.Fields(line)...); err != nil {
			return err
		}
	}
	return nil
}

func output(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return strings.TrimSpace(string(out)), nil
}

// cleanup runs a command at the end of a test, and logs its failure.
func cleanup(tb testing.TB, args ...string) {
	if err := run(args...); err != nil {
		tb.Logf("left behind: %v", err)
	}
}

package faultnet

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// commandWithin is how long a command may take, on a machine that does much else.
const commandWithin = time.Minute

// raise takes the device into use, for nothing yet.
func (t *tun) raise() error {
	return t.ip(fmt.Sprintf("link set dev %s mtu %d up", tunName, t.mtu))
}

// route leads what is sent to the others through the device. A route of a host's
// own that is there already makes it fail, as it could not be put back.
func (t *tun) route(all []*tun) error {
	return t.ip(t.routes(all, "add", " src "+t.Address.String())...)
}

func (t *tun) unroute(all []*tun) error { return t.ip(t.routes(all, "del", "")...) }

func (t *tun) routes(all []*tun, verb, more string) (lines []string) {
	for _, other := range all {
		if other != t {
			lines = append(lines, fmt.Sprintf("route %s %s/32 dev %s%s", verb, other.Address, tunName, more))
		}
	}
	return lines
}

// ip runs lines of `ip` in the namespace, as one command: the fewer, the shorter
// is the time in which only one direction is led through here.
func (t *tun) ip(lines ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), commandWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ip", "-n", t.Space, "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip -n %s %s: %w: %s", t.Space, strings.Join(lines, "; "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

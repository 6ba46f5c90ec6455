package cluster

import (
	"testing"
	"time"

	"quorate/cluster/ownership"
	"quorate/cluster/placement"
)

// TestTheDefaultsAgree: a leader must count beats as the nodes do, and a grantor
// counts as cut off when a lease has passed.
func TestTheDefaultsAgree(t *testing.T) {
	o, p := ownership.DefaultTiming(), placement.DefaultTiming()
	if o.Ping != p.Ping || o.PingTimeout != p.LostAfter || o.LostBeats() != p.LostBeats() {
		t.Errorf("ownership %+v, placement %+v", o, p)
	}
	if cut := o.Ping * time.Duration(o.CutOff); cut != p.OwnerLease {
		t.Errorf("cut off after %s, a lease is %s", cut, p.OwnerLease)
	}
}

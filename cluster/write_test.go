package cluster

import "testing"

// TestAWriteToAFormerLeaderIsGivenUp: whatever this node writes next waits behind it.
func TestAWriteToAFormerLeaderIsGivenUp(t *testing.T) {
	for name, c := range map[string]struct {
		leaders []string // at each poll
		want    int      // the poll at which it is given up; 0: none
	}{
		"it goes on leading":               {[]string{"n1", "n1", "n1", "n1", "n1"}, 0},
		"nobody else leads yet":            {[]string{"", "", "", "", "n1"}, 0},
		"another leads":                    {[]string{"n1", "", "n2", "n2", "n2"}, 5},
		"another, and one more":            {[]string{"n2", "n3", "n3"}, 3},
		"another is heard of, for a while": {[]string{"n2", "n2", "n1", "n2", "n2"}, 0},
	} {
		polls, got := 0, 0
		f := &forwarded{leader: "n1", giveUp: func() {
			if got == 0 {
				got = polls
			}
		}}
		for _, leader := range c.leaders {
			polls++
			f.poll(leader)
		}
		if got != c.want {
			t.Errorf("%s: given up at poll %d, want %d", name, got, c.want)
		}
	}
}

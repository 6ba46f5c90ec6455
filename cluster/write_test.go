package cluster

import "testing"

// TestAWriteToAFormerLeaderIsGivenUp: whatever this node writes next waits behind it.
func TestAWriteToAFormerLeaderIsGivenUp(t *testing.T) {
	for name, c := range map[string]struct {
		leaders []string // at each look
		want    int      // the look at which it is given up; 0: none
	}{
		"it goes on leading":               {[]string{"n1", "n1", "n1", "n1", "n1"}, 0},
		"nobody else leads yet":            {[]string{"", "", "", "", "n1"}, 0},
		"another leads":                    {[]string{"n1", "", "n2", "n2", "n2"}, 5},
		"another, and one more":            {[]string{"n2", "n3", "n3"}, 3},
		"another is heard of, for a while": {[]string{"n2", "n2", "n1", "n2", "n2"}, 0},
	} {
		look, got := 0, 0
		s := &sent{leader: "n1", giveUp: func() {
			if got == 0 {
				got = look
			}
		}}
		for _, leader := range c.leaders {
			look++
			s.look(leader)
		}
		if got != c.want {
			t.Errorf("%s: given up at look %d, want %d", name, got, c.want)
		}
	}
}

package cluster

import (
	"testing"
	"time"
)

func TestOneBadClockDoesNotMoveTheLogsTime(t *testing.T) {
	const day = 24 * 60 * 60 * 1000
	start := time.Now()
	type step struct {
		term   uint64
		log    int64 // the log's time
		after  time.Duration
		wall   int64
		others []int64
		want   int64
	}
	for name, steps := range map[string][]step{
		"clocks agree":                    {{1, 0, 0, 1000, []int64{1000, 1001}, 1000}, {1, 1000, time.Second, 2000, []int64{2000, 2001}, 2000}},
		"the leader's steps a day ahead":  {{1, 0, 0, 1000, []int64{1000, 1000}, 1000}, {1, 1000, time.Second, day, []int64{2000, 2000}, 7000}},
		"another's steps a day ahead":     {{1, 0, 0, 1000, []int64{day, 1000}, 1000}},
		"the leader's steps a day back":   {{1, day, 0, day, []int64{day, day}, day}, {1, day, time.Second, 0, []int64{day, day}, day + 1000}},
		"a new leader goes on":            {{2, day, 0, 1000, []int64{1000, 1000}, day}, {2, day, time.Second, 2000, []int64{2000, 2000}, day + 1000}},
		"one of two others is not heard":  {{1, 0, 0, day, []int64{1000}, 6000}},
		"alone there is no other measure": {{1, 0, 0, day, nil, day}},
	} {
		var c clock
		for i, s := range steps {
			if got := c.stamp(s.term, s.log, start.Add(s.after), s.wall, s.others); got != s.want {
				t.Errorf("%s, step %d: %d, want %d", name, i, got, s.want)
			}
		}
	}
}

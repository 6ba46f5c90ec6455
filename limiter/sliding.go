package limiter

import (
	"time"

	"quorate/limiter/bucket"
	"quorate/limiter/replica"
)

// slide completes a fallback node's view of a sliding window, and returns all that
// counts in it; nil for a token bucket.
func (a *fallbackAttempt) slide(j *fallback, k *BucketSnapshot, look *replica.FallbackBucket) *bucket.Window {
	if k.Algorithm != bucket.SlidingWindow {
		return nil
	}
	reports := j.usages(a.now)
	all := k.window(a.now).Join(replica.PendingWindow(look.Limit, reports, k.Absorbed, a.now))
	others := all
	for i := range reports {
		if reports[i].Source == j.mine.Source {
			reports = append(reports[:i], reports[i+1:]...)
			others = k.window(a.now).Join(replica.PendingWindow(look.Limit, reports, k.Absorbed, a.now))
			break
		}
	}
	look.Window, look.Pending = &others, 0
	look.Copy = bucket.State{Units: all.Use(look.Limit, a.now), At: a.now}
	return &all
}

// waitFor returns how long the use must decay until cost has room.
func waitFor(all *bucket.Window, look *replica.FallbackBucket, cost int64) time.Duration {
	if all != nil {
		return all.Wait(look.Limit, cost, look.Copy.At)
	}
	return look.Copy.Add(look.Pending).Wait(look.Limit, cost)
}

func statusOf(all *bucket.Window, look *replica.FallbackBucket, l *bucket.Scoped) bucket.Status {
	if all != nil {
		return all.Status(*l, look.Copy.At)
	}
	return look.Copy.Add(look.Pending).Status(*l)
}

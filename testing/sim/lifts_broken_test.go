//go:build broken

package sim

import "quorate/limiter/replica"

var lifts = map[Without]func(bool){Smallest: lifting(replica.LiftSmallest), Heal: lifting(replica.LiftHeal)}

func lifting(lift func()) func(bool) {
	return func(away bool) {
		if away {
			lift()
			return
		}
		replica.Restore()
	}
}

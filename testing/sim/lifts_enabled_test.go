//go:build faultinject

package sim

import "quorate/limiter/replica"

var lifts = map[Without]func(bool){
	Smallest: func(away bool) { replica.Inject(replica.Injection{NoSmallest: away}) },
	Heal:     func(away bool) { replica.Inject(replica.Injection{NoHeal: away}) },
}

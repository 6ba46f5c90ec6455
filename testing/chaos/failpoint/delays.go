package failpoint

import (
	"errors"
	"fmt"
	"time"

	"quorate/testing/chaos/backend"
	"quorate/testing/chaos/model"
	"quorate/testing/faultnet"
)

// Delays lists the faults that delay, reorder and duplicate packets.
var Delays = []Fault{
	{"delay", "every packet between nodes is late, in order", delay},
	{"jitter", "packets between nodes overtake each other, and some come twice", jitter},
}

// delay keeps the order of packets on each link, as a long line does: reordering
// costs TCP far more time than the delay.
func delay(e *Env) error {
	cfg := faultnet.DefaultConfig()
	cfg.High = e.Between(50*time.Millisecond, 300*time.Millisecond)
	cfg.Low, cfg.InOrder = cfg.High/3, true
	return late(e, "delay", cfg)
}

func jitter(e *Env) error {
	cfg := faultnet.DefaultConfig()
	cfg.High, cfg.Twice = 100*time.Millisecond, 0.01*float64(1+e.Rng.IntN(5))
	return late(e, "jitter", cfg)
}

func late(e *Env, name string, cfg faultnet.Config) error {
	if err := e.Prepare(); err != nil {
		return err
	}
	d := e.Between(4*time.Second, 10*time.Second)
	cfg.Seed, cfg.Queue = e.Rng.Uint64(), 1<<16 // a snapshot may be under way
	how := fmt.Sprintf("by %d to %d ms for %.1f s", cfg.Low.Milliseconds(), cfg.High.Milliseconds(), d.Seconds())
	if cfg.Twice > 0 {
		how += fmt.Sprintf(", %.0f %% twice", 100*cfg.Twice)
	}
	f := e.Begin(name, model.Loss, how, false, e.Up()...)
	var counts func() faultnet.Counts
	err := e.during(f, d, func(backend.Network) (err error) {
		counts, err = e.Backend.(backend.Delays).Delay(cfg)
		return err
	})
	if counts == nil {
		return err
	}
	c := counts()
	remark(f, fmt.Sprintf("%d packets", c.Read))
	// If packets were also lost, the run does not show the cost of a delay.
	if c.Read == 0 || c.Full+c.Refused > 0 {
		err = errors.Join(err, fmt.Errorf("%s: packets were not only delayed: %+v", name, c))
	}
	return err
}

package ledger_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"quorate/fsm/ledger"
	"quorate/testing/golden"
)

func set(k ledger.SettingKind, v int64) ledger.Op {
	return ledger.Op{Kind: ledger.OpSetting, Setting: ledger.Setting{Kind: k, Value: v}}
}

// TestAWebhookThatIsRepeatedAfterADay: payment providers repeat for three days.
func TestAWebhookThatIsRepeatedAfterADay(t *testing.T) {
	s := timed(t)
	for i, op := range s.Settings().Missing(ledger.NewSettings(ledger.DefaultKeyMemory, ledger.DefaultKeyMemoryEntries)) {
		apply(s, uint64(2+i), start, op)
	}
	apply(s, 10, start, issued("wh", "evt_1", start))
	for i, days := range []int64{1, 2, 3, 6} {
		now := start + days*24*hour
		apply(s, uint64(20+2*i), now, purchase("other", fmt.Sprint(i), "1"))
		if r := apply(s, uint64(21+2*i), now, purchase("wh", "evt_1", "5")); r.Err != nil || !r.Replayed {
			t.Errorf("after %d days: %+v", days, r)
		}
	}
	apply(s, 40, start+8*24*hour, purchase("other", "k", "1"))
	if r := apply(s, 41, start+8*24*hour, issued("wh", "evt_1", start)); !errors.Is(r.Err, ledger.ErrKeyExpired) {
		t.Errorf("after 8 days: %v", r.Err)
	}
	if got := s.Account("wh").Lifetime; got != usd("5") {
		t.Errorf("lifetime spend %v", got)
	}
}

// TestKeyMemoryShrinksAndGrows: a smaller memory forgets a few keys with each entry. One
// that grows again remembers what was not forgotten, and says so.
func TestKeyMemoryShrinksAndGrows(t *testing.T) {
	s := timed(t)
	apply(s, 2, start, set(ledger.KeyMemoryEntries, 100))
	for i := range 100 {
		apply(s, uint64(3+i), start+int64(i), purchase("a", fmt.Sprint(i), "1"))
	}
	now := int64(start + 200)
	apply(s, 103, now, set(ledger.KeyMemoryEntries, 10))
	apply(s, 104, now, purchase("a", "one", "1"))
	apply(s, 105, now, purchase("a", "two", "1"))
	if got, want := s.KeysSince(), int64(start+15+1); got != want {
		t.Errorf("keys since %d after two entries, want %d", got-start, want-start)
	}
	apply(s, 106, now, set(ledger.KeyMemoryEntries, 1000))
	back := s
	if ledger.NewestVersion() >= 4 {
		back = restored(t, s)
	}
	for _, s := range []*ledger.State{s, back} {
		if s.Settings().KeyMemoryEntries() != 1000 || s.Settings().KeyMemory() != 24*time.Hour {
			t.Errorf("settings %v", s.Settings())
		}
		if _, ok := s.Entry("a", "15"); ok {
			t.Error("a key came back")
		}
		if r := apply(s, 107, now, purchase("a", "16", "1")); !r.Replayed {
			t.Errorf("a key that was remembered: %+v", r)
		}
		if got := s.KeysSince(); got != start+16 {
			t.Errorf("keys since %d, want 16", got-start)
		}
	}
	if !bytes.Equal(written(t, s), written(t, back)) {
		t.Error("the replicas differ")
	}
}

// TestSettingsStay: the bytes of settings in commands are those of earlier versions.
func TestSettingsStay(t *testing.T) {
	f := golden.Open(t, "testdata/settings.txt")
	for name, op := range map[string]ledger.Op{
		"key memory":         set(ledger.KeyMemory, ledger.DefaultKeyMemory.Milliseconds()),
		"key memory entries": set(ledger.KeyMemoryEntries, 4_000_000),
	} {
		b := f.Compare(name, mustEncode(t, &ledger.Command{Time: 1_700_000_000_123, Ops: []ledger.Op{op}}))
		if ledger.NewestVersion() < 4 {
			continue
		}
		if c, err := ledger.DecodeCommand(b); err != nil || len(c.Ops) != 1 || c.Ops[0].Setting != op.Setting {
			t.Errorf("%s is read as %+v, %v", name, c, err)
		}
	}
}

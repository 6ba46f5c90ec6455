package ledger

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cespare/xxhash/v2"

	"quorate/limiter/codec"
)

// SettingKind identifies a setting of the whole cluster.
type SettingKind uint8

// The settings. Append only: the numbers are in the log. Settings from a later version of
// commands must raise the version of OpSetting.
const (
	KeyMemory        SettingKind = iota // milliseconds of the log's time for which keys are remembered
	KeyMemoryEntries                    // number of keys that are remembered
	numSettings
)

// Setting is the value of a setting. Apply obeys the settings in the log and not those of
// its node, so that the replicas agree.
type Setting struct {
	Kind  SettingKind
	Value int64
}

// The bounds and defaults of the settings.
const (
	MinKeyMemory     = time.Hour
	MaxKeyMemory     = 90 * 24 * time.Hour
	DefaultKeyMemory = 7 * 24 * time.Hour

	MaxKeyMemoryEntries     = 100_000_000
	DefaultKeyMemoryEntries = MaxKeys
)

// Settings are the values of all settings. A value is 0 until the log has one.
type Settings [numSettings]int64

// KeyMemory returns for how long keys are remembered.
func (s Settings) KeyMemory() time.Duration {
	if s[KeyMemory] == 0 {
		return KeyWindow * time.Millisecond
	}
	return time.Duration(s[KeyMemory]) * time.Millisecond
}

// KeyMemoryEntries returns the number of keys that are remembered.
func (s Settings) KeyMemoryEntries() int64 {
	if s[KeyMemoryEntries] == 0 {
		return MaxKeys
	}
	return s[KeyMemoryEntries]
}

// NewSettings returns the settings with the values of a node's configuration.
func NewSettings(keyMemory time.Duration, keyMemoryEntries int64) Settings {
	return Settings{KeyMemory: keyMemory.Milliseconds(), KeyMemoryEntries: keyMemoryEntries}
}

// Missing returns the operations that give a log with these settings the wanted ones. A
// wanted value of 0 leaves the log's.
func (s Settings) Missing(want Settings) (ops []Op) {
	for k, v := range want {
		if v != 0 && v != s[k] {
			ops = append(ops, Op{Kind: OpSetting, Setting: Setting{SettingKind(k), v}})
		}
	}
	return ops
}

// Settings returns the settings in the log.
func (s *State) Settings() Settings {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.settings
}

// applySettingLocked changes a setting. A key memory that shrinks forgets a few keys with
// each entry, as always; one that grows remembers again what no entry has yet made it
// forget.
func (s *State) applySettingLocked(v Setting) Result {
	s.setLocked(v)
	b := binary.BigEndian.AppendUint64([]byte{byte(v.Kind)}, uint64(v.Value))
	return Result{sum: xxhash.Sum64(b) | 1}
}

func (s *State) setLocked(v Setting) {
	s.settings[v.Kind] = v.Value
	if v.Kind == KeyMemoryEntries {
		s.keys.max, s.settled.keys.max = int(v.Value), int(v.Value)
	}
}

// keyMemoryLocked returns for how many milliseconds keys are remembered.
func (s *State) keyMemoryLocked() int64 { return s.settings.KeyMemory().Milliseconds() }

func (v Setting) encode(w *codec.Writer) {
	w.Uint(uint64(v.Kind))
	w.Int(v.Value)
}

func decodeSetting(r *codec.Reader) Setting {
	k, v := r.Uint(), r.IntIn(1, 1<<62)
	if r.Err() == nil && k >= uint64(numSettings) {
		r.Fail(fmt.Errorf("setting %d: %w", k, ErrUnknownCommand))
		return Setting{}
	}
	return Setting{SettingKind(k), v}
}

// String returns the setting for the audit and for logs.
func (v Setting) String() string {
	switch v.Kind {
	case KeyMemory:
		return "key-memory " + (time.Duration(v.Value) * time.Millisecond).String()
	case KeyMemoryEntries:
		return fmt.Sprint("key-memory-entries ", v.Value)
	}
	return fmt.Sprint("setting ", v.Kind, " ", v.Value)
}

// Package logs writes the log lines of hashicorp/raft and memberlist to slog, and
// limits lines that other hosts can cause.
package logs

import (
	"bytes"
	"context"
	"log"
	"log/slog"
	"strings"
	"time"
)

// gossipBurst is the Burst of memberlist's warnings and errors, which any host that
// reaches the gossip port can cause.
const gossipBurst = 20

// Gossip returns a logger for memberlist that writes to l. It logs at most 20
// warnings and errors in 10 s.
func Gossip(l *slog.Logger) *log.Logger {
	return log.New(&gossipWriter{log: l, limiter: Limiter{Burst: gossipBurst}}, "", 0)
}

// gossipWriter writes the lines of a standard logger to slog.
type gossipWriter struct {
	log     *slog.Logger
	limiter Limiter // of warnings and errors
}

// Write logs one line. Memberlist puts the level in brackets.
func (w *gossipWriter) Write(line []byte) (int, error) {
	text := string(bytes.TrimSpace(line))
	level := slog.LevelInfo
	for name, l := range map[string]slog.Level{
		"[DEBUG]": slog.LevelDebug, "[INFO]": slog.LevelInfo, "[WARN]": slog.LevelWarn, "[ERR]": slog.LevelError,
	} {
		if i := strings.Index(text, name); i >= 0 {
			level, text = l, strings.TrimSpace(text[i+len(name):])
			break
		}
	}
	var attrs []any
	if level >= slog.LevelWarn {
		suppressed, ok := w.limiter.Allow(time.Now())
		if !ok {
			return len(line), nil
		}
		if suppressed > 0 {
			attrs = []any{"suppressed", suppressed}
		}
	}
	w.log.Log(context.Background(), level, text, attrs...)
	return len(line), nil
}

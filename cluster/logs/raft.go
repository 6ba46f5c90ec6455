package logs

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// Raft returns a logger for hashicorp/raft and raft-autopilot that writes to l.
func Raft(l *slog.Logger) hclog.Logger {
	out := hclog.NewInterceptLogger(&hclog.LoggerOptions{Output: io.Discard, Level: hclog.Info})
	out.RegisterSink(raftSink{l})
	return out
}

// raftSink writes the lines of an hclog.Logger to slog.
type raftSink struct{ log *slog.Logger }

// Accept implements hclog.SinkAdapter.
func (s raftSink) Accept(_ string, level hclog.Level, msg string, args ...any) {
	l := slog.LevelDebug
	switch {
	case level >= hclog.Error:
		l = slog.LevelError
	case level >= hclog.Warn:
		l = slog.LevelWarn
	case level >= hclog.Info:
		l = slog.LevelInfo
	}
	for i, arg := range args {
		if f, ok := arg.(hclog.Format); ok && len(f) > 0 {
			args[i] = fmt.Sprintf(fmt.Sprint(f[0]), f[1:]...)
		}
	}
	s.log.Log(context.Background(), l, msg, args...)
}

package cluster

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
)

// gossipLines bounds memberlist's warnings and errors in a span: strangers can
// cause as many as they like.
const gossipLines = 20

// Write logs one line of memberlist's, whose level stands in brackets.
func (w logWriter) Write(line []byte) (int, error) {
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
	var more []any
	if level >= slog.LevelWarn {
		left, due := w.sparing.now(time.Now())
		if !due {
			return len(line), nil
		}
		if left > 0 {
			more = []any{"left_out", left}
		}
	}
	w.log.Log(context.Background(), level, text, more...)
	return len(line), nil
}

// discard is where loggers write whose lines a sink takes.
var discard = io.Discard

// hclogSink hands Raft's log lines to slog.
type hclogSink struct{ log *slog.Logger }

// Accept is hclog.SinkAdapter.
func (s hclogSink) Accept(_ string, level hclog.Level, msg string, args ...any) {
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

package main

import (
	"bytes"
	"io"
	"sync"
)

// lockedWriter serializes the writes of several nodes.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// logPrefix writes complete lines with a prefix and remembers the last one. Its writes
// never fail: a node must not stall because its log is not read.
type logPrefix struct {
	to     io.Writer
	prefix string

	mu      sync.Mutex
	partial []byte // of a line whose end is still to come
	last    string
}

// maxLogLine is the length in bytes at which a line without an end is split.
const maxLogLine = 64 << 10

func (l *logPrefix) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.partial = append(l.partial, p...)
	for {
		end := bytes.IndexByte(l.partial, '\n')
		if end < 0 {
			if len(l.partial) < maxLogLine {
				return len(p), nil
			}
			end = len(l.partial)
		}
		line := l.partial[:end]
		if len(bytes.TrimSpace(line)) > 0 {
			l.last = string(line)
			l.to.Write([]byte(l.prefix + l.last + "\n"))
		}
		l.partial = l.partial[min(end+1, len(l.partial)):]
	}
}

func (l *logPrefix) lastLine() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

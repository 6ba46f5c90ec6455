package main

import (
	"bytes"
	"io"
	"sync"
)

// lockedWriter keeps the lines of several nodes apart.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// logPrefix passes whole lines on with a prefix and remembers the last one. It
// never fails: a node must not stall because nobody reads its log.
type logPrefix struct {
	to     io.Writer
	prefix string

	mu      sync.Mutex
	partial []byte // of a line whose end is still to come
	last    string
}

// maxLogLine is where a line without an end is cut, in bytes.
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

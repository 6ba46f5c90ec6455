package limiter

// Stats counts what a node keeps for replication.
type Stats struct {
	Streams   int   // buckets that are published to copies
	Copies    int   // copies of other owners' buckets
	Fallbacks int   // buckets that this node has decided as a fallback node, or knows the fallback usage of
	Ahead     int64 // the most units by which a bucket is ahead of its best copy
}

// Stats counts. It holds the lock of one shard at a time.
func (l *Local) Stats() (s Stats) {
	for i := range l.parts {
		sh := &l.parts[i]
		sh.mu.Lock()
		now := l.now()
		s.Streams, s.Copies, s.Fallbacks = s.Streams+len(sh.tracked), s.Copies+len(sh.copies), s.Fallbacks+len(sh.fallbacks)
		if _, r, _ := l.view.Load().part(i); r == owner {
			for id, h := range sh.tracked {
				s.Ahead = max(s.Ahead, h.stream.Ahead(l.used(sh, id, now), id.Window))
			}
		}
		sh.mu.Unlock()
	}
	return s
}

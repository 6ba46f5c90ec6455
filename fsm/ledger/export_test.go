package ledger

// KeepKeys bounds the idempotency keys to fewer than MaxKeys, for tests.
func (s *State) KeepKeys(n int) { s.keys.max = n }

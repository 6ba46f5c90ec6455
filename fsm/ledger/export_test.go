package ledger

// KeepKeys sets the maximum number of idempotency keys, for tests.
func (s *State) KeepKeys(n int) { s.keys.max = n }

//go:build !broken

package ledger

// dedupe is whether a key counts once; only a build with the tag broken, which
// shows that tests notice, can do without.
const dedupe = true

//go:build quorate_commands_v1

package ledger

// A program of the first version, for tests of upgrades.
const newestVersion = 1

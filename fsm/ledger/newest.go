//go:build !quorate_commands_v1

package ledger

const newestVersion = 3

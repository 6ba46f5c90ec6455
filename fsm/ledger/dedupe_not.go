//go:build broken

package ledger

import "os"

var dedupe = os.Getenv("QUORATE_BROKEN") != "dedupe"

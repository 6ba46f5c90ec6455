// Package arch holds the import table of the house and checks it: which
// package of ours may know which. A package that is not in the table fails,
// so that a new one is a decision and not an accident.
package arch

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Module is the module's path, which all imports of ours start with.
const Module = "quorate"

// Folders are the only folders at the top level, apart from those that start
// with a dot and those that git ignores.
var Folders = []string{"api", "cluster", "cmd", "fsm", "limiter", "testing"}

// anything stands for every package of ours.
const anything = "..."

// Rule names a package, or with a trailing /... everything below it, and what
// of ours it may import.
type Rule struct {
	Package string
	May     []string
}

// Rules is the import table. The leaves know nothing but each other, siblings
// never meet, and only cmd/node joins them.
var Rules = []Rule{
	{"limiter/codec", nil},
	{"limiter/bucket", []string{"limiter/codec"}},
	{"fsm/ledger", []string{"limiter/bucket", "limiter/codec"}},
	{"limiter/replica", []string{"limiter/bucket"}},
	{"limiter", []string{"limiter/replica", "limiter/bucket"}},
	{"limiter/exchange", []string{"limiter", "limiter/replica", "limiter/bucket", "limiter/codec"}},
	{"fsm", []string{"fsm/ledger", "limiter/bucket"}},
	{"cluster/placement", []string{"fsm/ledger"}},
	{"cluster/ownership", []string{"fsm/ledger", "limiter/bucket", "limiter/codec"}},
	{"cluster/filter", []string{"limiter/codec"}},
	{"cluster/storage/boltcheck", nil},
	{"cluster/storage", []string{"cluster/storage/boltcheck", "limiter/codec"}},
	{"cluster/logs", nil},
	{"cluster/peer", []string{"limiter/bucket", "limiter/codec"}},
	{"cluster/transport", []string{"cluster/filter", "cluster/logs", "cluster/peer", "fsm/ledger"}},
	{"cluster", []string{"cluster/placement", "cluster/ownership", "cluster/filter", "cluster/storage", "cluster/transport", "cluster/logs", "cluster/peer", "fsm/ledger", "limiter/bucket", "limiter/codec"}},
	{"api/wire", []string{"limiter/bucket", "fsm/ledger"}},
	{"api/auth", []string{"api/wire", "limiter/bucket", "fsm/ledger"}},
	{"api/rest", []string{"api/wire", "limiter/bucket", "fsm/ledger"}},
	{"api/client", []string{"api/wire"}},
	{"api/envoy", []string{"api/wire", "limiter/bucket", "fsm/ledger"}},
	{"api/ui", []string{"api/wire", "limiter/bucket", "fsm/ledger"}},
	{"cmd/node", []string{
		"api/wire", "api/auth", "api/rest", "api/client", "api/envoy", "api/ui",
		"limiter", "limiter/exchange", "limiter/replica", "limiter/bucket", "fsm", "fsm/ledger", "cluster", "cluster/ownership", "cluster/placement", "cluster/peer", "cluster/transport",
	}},
	{"cmd/quorate", []string{"cmd/node", "api/client", "api/wire", "testing/bench"}},
	{"testing/arch", nil},
	{"testing/golden", nil},
	{"testing/testcluster", []string{anything}},
	{"testing/faultnet", []string{anything}},
	{"testing/sim", []string{anything}},
	{"testing/chaos/...", []string{anything}},
	{"testing/bench/...", []string{anything}},
	{"testing/e2e/...", []string{anything}},
	{"testing/policies", []string{anything}},
	{"testing/tools/...", nil},
}

// Import is one import of ours, by packages relative to the module.
type Import struct {
	File string // relative to the module's root
	From string // "" is the root itself
	To   string
	Test bool // the file is a _test.go
}

// Check returns a line for every package that has no rule and for every import
// that its rule does not name. Test files may also import testing/... and the
// package they test.
func Check(rules []Rule, packages []string, imports []Import) []string {
	var faults []string
	for _, p := range packages {
		if find(rules, p) == nil {
			faults = append(faults, fmt.Sprintf("package %q is not in the import table", p))
		}
	}
	for _, i := range imports {
		r := find(rules, i.From)
		if r == nil || r.allows(i) {
			continue // a package without a rule was named above
		}
		faults = append(faults, fmt.Sprintf("%s: %s may not import %s", i.File, cmp.Or(i.From, "the root"), i.To))
	}
	slices.Sort(faults)
	return faults
}

func find(rules []Rule, pkg string) *Rule {
	for i, r := range rules {
		if prefix, ok := strings.CutSuffix(r.Package, "/..."); pkg == prefix || ok && strings.HasPrefix(pkg, prefix+"/") {
			return &rules[i]
		}
	}
	return nil
}

func (r *Rule) allows(i Import) bool {
	if i.Test && (strings.HasPrefix(i.To, "testing/") || i.To == i.From) {
		return true
	}
	return slices.Contains(r.May, i.To) || slices.Contains(r.May, anything)
}

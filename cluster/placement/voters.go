package placement

import "slices"

// Promotions returns which of the stable nodes without a vote get one, so that at
// most the given number of nodes vote.
func Promotions(voters, most int, stable []string) []string {
	stable = slices.Sorted(slices.Values(stable))
	return stable[:max(0, min(most-voters, len(stable)))]
}

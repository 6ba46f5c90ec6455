package placement

import (
	"fmt"
	"slices"
	"testing"
)

func TestPromotions(t *testing.T) {
	stable := func(n int) (ids []string) {
		for i := range n {
			ids = append(ids, fmt.Sprint("n", 9-i))
		}
		return ids
	}
	for _, c := range []struct {
		voting, most int
		stable       int
		want         []string
	}{
		{1, 3, 1, []string{"n9"}},
		{1, 3, 4, []string{"n6", "n7"}},
		{2, 3, 0, nil},
		{2, 3, 2, []string{"n8"}},
		{3, 3, 2, nil},
		{5, 3, 2, nil},
		{3, 5, 4, []string{"n6", "n7"}},
	} {
		if got := Promotions(c.voting, c.most, stable(c.stable)); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

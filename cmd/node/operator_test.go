package node

import (
	"errors"
	"fmt"
	"testing"

	"quorate/api/rest"
	"quorate/cluster"
)

func TestAPIErrors(t *testing.T) {
	other := errors.New("something else")
	for _, c := range []struct{ err, want error }{
		{cluster.ErrUnknownNode, rest.ErrUnknownNode},
		{cluster.ErrLastVoter, rest.ErrLastNode},
		{cluster.ErrQuorumLoss, rest.ErrQuorumLoss},
		{cluster.ErrUnfit, rest.ErrUnfit},
		{cluster.ErrUnderWay, rest.ErrUnderWay},
		{fmt.Errorf("%w: %w", cluster.ErrUnderWay, cluster.ErrLastVoter), rest.ErrLastNode}, // the first of the table
		{other, other},
		{nil, nil},
	} {
		for range 20 { // the same each time
			got := apiError(c.err)
			if !errors.Is(got, c.want) || !errors.Is(got, c.err) {
				t.Fatalf("%v became %v, want %v", c.err, got, c.want)
			}
			for _, e := range apiErrors {
				if e.api != c.want && errors.Is(got, e.api) {
					t.Fatalf("%v became %v too", c.err, e.api)
				}
			}
		}
	}
}

package ledger

import (
	"strconv"
	"strings"

	"quorate/limiter/bucket"
	"quorate/limiter/codec"
)

// MaxOverrides is the maximum number of overrides of one account.
const MaxOverrides = 100

// NoMinTier is the MinTier of an override that inherits it.
const NoMinTier = -1

// Override is a rule of one account, for the models that match a pattern or for a
// category. Exactly one of Match and Category is set.
type Override struct {
	Match     string
	Category  string
	Given     bool // Limits replaces the inherited limits
	Limits    []bucket.Scoped
	MinTier   int   // replaces the MinTier of all other rules, unless NoMinTier
	ExpiresAt int64 // the log's time in milliseconds since 1970; 0: never
}

// Overrides is the list of an account's overrides. It is nil if the account has none.
type Overrides struct{ List []Override }

// OverrideRule is an override before it is compiled.
type OverrideRule struct {
	Match, Category string
	Limits          *[]LimitRule // nil: inherit
	MinTier         *int
	ExpiresAt       int64
}

// CompileOverrides validates and compiles a list of overrides. The error is Faults, with
// paths below "overrides".
func CompileOverrides(rules []OverrideRule) (*Overrides, error) {
	w := &validator{}
	if len(rules) > MaxOverrides {
		w.fault("overrides", "%d overrides, at most %d", len(rules), MaxOverrides)
		return nil, w.err()
	}
	out := &Overrides{}
	seen := map[string]bool{}
	for i, r := range rules {
		at := "overrides[" + strconv.Itoa(i) + "]"
		o := Override{Match: r.Match, Category: r.Category, MinTier: NoMinTier, ExpiresAt: r.ExpiresAt}
		scope, key := r.Category, "c"+r.Category
		switch {
		case (r.Match == "") == (r.Category == ""):
			w.fault(at, "want either match or category")
		case r.Match != "" && !ValidModel(r.Match):
			w.fault(at+".match", "want 1 to %d printable ASCII bytes without space", bucket.MaxModel)
		case r.Category != "" && !ValidCategory(r.Category):
			w.fault(at+".category", "not a valid name of a category")
		case r.Match != "":
			scope = strings.ToLower(r.Match)
			key = "m" + scope
		}
		if seen[key] {
			w.fault(at, "a second override with the same scope")
		}
		seen[key] = true
		if r.MinTier != nil {
			if o.MinTier = *r.MinTier; o.MinTier < 0 || o.MinTier > MaxLevel {
				w.fault(at+".min_tier", "want an integer from 0 to %d", MaxLevel)
			}
		}
		if r.Limits != nil {
			o.Given = true
			if len(*r.Limits) > MaxLimits {
				w.fault(at+".limits", "%d limits, at most %d", len(*r.Limits), MaxLimits)
			} else {
				o.Limits = w.scoped(scope, at+".limits", *r.Limits, bucket.SourceOverride)
			}
		}
		out.List = append(out.List, o)
	}
	return out, w.err()
}

// without returns the overrides that have not expired at now, nil if all have.
func (o *Overrides) without(now int64) *Overrides {
	left := &Overrides{}
	for _, one := range o.List {
		if one.ExpiresAt == 0 || one.ExpiresAt > now {
			left.List = append(left.List, one)
		}
	}
	if len(left.List) == 0 {
		return nil
	}
	return left
}

// overrides returns the first override that matches the model, and the override of the
// category.
func (a *Account) overrides(modelName, category string) (forModel, forCategory *Override) {
	if a == nil || a.Overrides == nil {
		return nil, nil
	}
	for i := range a.Overrides.List {
		o := &a.Overrides.List[i]
		switch {
		case o.Category != "":
			if o.Category == category {
				forCategory = o
			}
		case forModel == nil && modelName != "" && matches(strings.ToLower(o.Match), modelName):
			forModel = o
		}
	}
	return forModel, forCategory
}

func (o *Override) encode(w *codec.Writer) {
	w.Array(6)
	w.String(o.Match)
	w.String(o.Category)
	w.Bool(o.Given)
	w.Int(int64(o.MinTier))
	w.Int(o.ExpiresAt)
	w.Array(len(o.Limits))
	for _, l := range o.Limits {
		w.Array(5)
		w.Uint(uint64(l.Unit))
		w.Uint(uint64(l.Algorithm))
		w.Int(l.Limit.Limit)
		w.Int(l.Burst)
		w.String(bucket.FormatWindow(l.Window))
	}
}

func (o *Override) decode(r *codec.Reader) {
	r.Array(6)
	o.Match, o.Category = r.String(bucket.MaxModel), r.String(bucket.MaxCategory)
	o.Given = r.Bool()
	o.MinTier = int(r.IntIn(NoMinTier, MaxLevel))
	o.ExpiresAt = r.Int()
	scope := o.Category
	if o.Match != "" {
		scope = strings.ToLower(o.Match)
	}
	o.Limits = codec.List(r, MaxLimits, func() bucket.Scoped {
		r.Array(5)
		l := bucket.Limit{Unit: bucket.Unit(r.Below(2)), Algorithm: bucket.Algorithm(r.Below(2)), Limit: r.Int(), Burst: r.Int()}
		window := r.String(16)
		var err error
		if l.Window, err = bucket.ParseWindow(window); err == nil {
			err = l.Validate()
		}
		r.Fail(err)
		return bucket.NewScoped(scope, l, bucket.SourceOverride)
	})
}

func encodeOverrides(w *codec.Writer, o *Overrides) {
	if o == nil {
		w.Array(0)
		return
	}
	w.Array(len(o.List))
	for i := range o.List {
		o.List[i].encode(w)
	}
}

func decodeOverrides(r *codec.Reader) *Overrides {
	n := r.ArrayUpTo(MaxOverrides)
	if n == 0 {
		return nil
	}
	o := &Overrides{List: make([]Override, n)}
	for i := range o.List {
		o.List[i].decode(r)
	}
	return o
}

package ledger

import (
	"strconv"
	"strings"

	"quorate/limiter/bucket"
	"quorate/limiter/codec"
)

// MaxOverrides is the most overrides one account can have.
const MaxOverrides = 100

// NoMinTier is the MinTier of an override that does not touch it.
const NoMinTier = -1

// Override is an account's own rule for the models that match, or for a
// category.
type Override struct {
	Match     string // either this,
	Category  string // or this
	Given     bool   // Limits are given; else they are inherited
	Limits    []bucket.Scoped
	MinTier   int   // NoMinTier, or what replaces all others
	ExpiresAt int64 // milliseconds since 1970 in the log's time; 0: never
}

// Overrides is an account's list; an account without has a nil one.
type Overrides struct{ List []Override }

// OverrideRule is an override as users write it.
type OverrideRule struct {
	Match, Category string
	Limits          *[]LimitRule // nil: inherit
	MinTier         *int
	ExpiresAt       int64
}

// CompileOverrides checks a list of overrides. Its error is Faults with paths
// below "overrides".
func CompileOverrides(rules []OverrideRule) (*Overrides, error) {
	w := &walk{}
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
			w.fault(at+".category", "not the name of a category")
		case r.Match != "":
			scope = strings.ToLower(r.Match)
			key = "m" + scope
		}
		if seen[key] {
			w.fault(at, "a second override of one scope")
		}
		seen[key] = true
		if r.MinTier != nil {
			if o.MinTier = *r.MinTier; o.MinTier < 0 || o.MinTier > MaxLevel {
				w.fault(at+".min_tier", "want a whole number from 0 to %d", MaxLevel)
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

// without returns the overrides that have not expired at now, nil for none.
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

// overrides finds the first override for the model and that for the category.
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

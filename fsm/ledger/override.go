package ledger

import (
	"strconv"
	"strings"

	"quorate/limiter/bucket"
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

func (o *Override) encode(w *writer) {
	w.array(6)
	w.string(o.Match)
	w.string(o.Category)
	w.bool(o.Given)
	w.int(int64(o.MinTier))
	w.int(o.ExpiresAt)
	w.array(len(o.Limits))
	for _, l := range o.Limits {
		w.array(5)
		w.uint(uint64(l.Unit))
		w.uint(uint64(l.Algorithm))
		w.int(l.Limit.Limit)
		w.int(l.Burst)
		w.string(bucket.FormatWindow(l.Window))
	}
}

func (o *Override) decode(r *reader) {
	r.array(6)
	o.Match, o.Category = r.string(bucket.MaxModel), r.string(bucket.MaxCategory)
	o.Given = r.bool()
	o.MinTier = int(r.int())
	o.ExpiresAt = r.int()
	scope := o.Category
	if o.Match != "" {
		scope = strings.ToLower(o.Match)
	}
	for range r.arrayUpTo(MaxLimits) {
		r.array(5)
		l := bucket.Limit{Unit: bucket.Unit(r.small(2)), Algorithm: bucket.Algorithm(r.small(2)), Limit: r.int(), Burst: r.int()}
		window := r.string(16)
		if r.err == nil {
			l.Window, r.err = bucket.ParseWindow(window)
		}
		if r.err == nil {
			r.err = l.Validate()
		}
		o.Limits = append(o.Limits, bucket.NewScoped(scope, l, bucket.SourceOverride))
	}
}

func encodeOverrides(w *writer, o *Overrides) {
	if o == nil {
		w.array(0)
		return
	}
	w.array(len(o.List))
	for i := range o.List {
		o.List[i].encode(w)
	}
}

func decodeOverrides(r *reader) *Overrides {
	n := r.arrayUpTo(MaxOverrides)
	if n == 0 {
		return nil
	}
	o := &Overrides{List: make([]Override, n)}
	for i := range o.List {
		o.List[i].decode(r)
	}
	return o
}

package codec_test

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/vmihailenco/msgpack/v5"
	"pgregory.net/rapid"

	"quorate/limiter/codec"
)

// everything has a field of each kind.
type everything struct {
	u     uint64
	i     int64
	kind  uint8
	below int
	in    int64
	yes   bool
	s     string
	b     []byte
	fixed [4]byte
	list  []string
}

func (v *everything) Encode(w *codec.Writer) {
	w.Byte(7)
	w.Array(10)
	w.Uint(v.u)
	w.Int(v.i)
	w.Int(int64(v.kind))
	w.Uint(uint64(v.below))
	w.Int(v.in)
	w.Bool(v.yes)
	w.String(v.s)
	w.Bytes(v.b)
	w.Bytes(v.fixed[:])
	w.Array(len(v.list))
	for _, s := range v.list {
		w.String(s)
	}
}

func (v *everything) Decode(r *codec.Reader) {
	if r.Byte() != 7 {
		r.Fail(errors.New("no seven"))
	}
	r.Array(10)
	v.u, v.i, v.kind, v.below, v.in = r.Uint(), r.Int(), codec.Int[uint8](r), r.Below(1000), r.IntIn(-5, 5)
	v.yes, v.s, v.b = r.Bool(), r.String(300), r.Bytes(300)
	r.Fill(v.fixed[:])
	v.list = codec.List(r, 5, func() string { return r.String(3) })
}

func TestValuesAreReadAsTheyWereWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := &everything{
			u: rapid.Uint64().Draw(t, "u"), i: rapid.Int64().Draw(t, "i"), kind: rapid.Uint8().Draw(t, "kind"),
			below: rapid.IntRange(0, 999).Draw(t, "below"), in: rapid.Int64Range(-5, 5).Draw(t, "in"), yes: rapid.Bool().Draw(t, "yes"),
			s: strings.Repeat("s", rapid.IntRange(0, 300).Draw(t, "s")), b: rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "b"),
		}
		for range rapid.IntRange(0, 5).Draw(t, "list") {
			want.list = append(want.list, rapid.StringN(0, 3, 3).Draw(t, "element"))
		}
		copy(want.fixed[:], rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "fixed"))
		if rapid.Bool().Draw(t, "nil") {
			want.b = nil
		}
		b, err := codec.Append([]byte("before"), want)
		if err != nil || !bytes.HasPrefix(b, []byte("before")) {
			t.Fatalf("%q, %v", b, err)
		}
		b = b[6:]
		var got everything
		if err := codec.Unmarshal(b, &got); err != nil || !reflect.DeepEqual(&got, want) {
			t.Fatalf("read %+v, %v; wrote %+v", got, err, want)
		}
		cut := rapid.IntRange(0, len(b)-1).Draw(t, "cut")
		if err := codec.Unmarshal(b[:cut], &got); err == nil {
			t.Fatalf("%d of %d bytes are read", cut, len(b))
		}
		if err := codec.Unmarshal(append(b, 0), &got); !errors.Is(err, codec.ErrBounds) {
			t.Fatalf("a byte more: %v", err)
		}
	})
}

func TestWhatIsOutOfBoundsIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		b    string
		read func(r *codec.Reader) any
		want error
	}{
		"a long string":                  {"\xa4abcd", func(r *codec.Reader) any { return r.String(3) }, codec.ErrBounds},
		"a string of 4 GiB":              {"\xdb\xff\xff\xff\xff", func(r *codec.Reader) any { return r.String(math.MaxInt) }, codec.ErrBounds},
		"a string that is cut off":       {"\xa4abc", func(r *codec.Reader) any { return r.String(10) }, codec.ErrBounds},
		"long bytes":                     {"\xc4\x04abcd", func(r *codec.Reader) any { return len(r.Bytes(3)) }, codec.ErrBounds},
		"bytes of 4 GiB":                 {"\xc6\xff\xff\xff\xffab", func(r *codec.Reader) any { return len(r.Bytes(math.MaxInt)) }, codec.ErrBounds},
		"fewer bytes":                    {"\xc4\x02ab", func(r *codec.Reader) any { var b [3]byte; r.Fill(b[:]); return int(b[0]) }, codec.ErrBounds},
		"no bytes":                       {"\xc0", func(r *codec.Reader) any { var b [3]byte; r.Fill(b[:]); return int(b[0]) }, codec.ErrBounds},
		"more bytes":                     {"\xc4\x04abcd", func(r *codec.Reader) any { var b [3]byte; r.Fill(b[:]); return int(b[0]) }, codec.ErrBounds},
		"another array":                  {"\x92\x01\x02", func(r *codec.Reader) any { r.Array(3); return r.Left() - 2 }, codec.ErrBounds},
		"no array":                       {"\xc0", func(r *codec.Reader) any { return r.ArrayUpTo(3) }, codec.ErrBounds},
		"a long array":                   {"\x94\x01\x02\x03\x04", func(r *codec.Reader) any { return r.ArrayUpTo(3) }, codec.ErrBounds},
		"an array of 4 Gi":               {"\xdd\xff\xff\xff\xff\x01", func(r *codec.Reader) any { return r.ArrayUpTo(math.MaxInt) }, codec.ErrBounds},
		"fewer elements than are known":  {"\x92\x01\x02", func(r *codec.Reader) any { return r.ArrayAtLeast(3, 9) }, codec.ErrBounds},
		"more elements than may be":      {"\x94\x01\x02\x03\x04", func(r *codec.Reader) any { return r.ArrayAtLeast(1, 3) }, codec.ErrBounds},
		"a list with a bad element":      {"\x92\xa1a\xa2bc", func(r *codec.Reader) any { return len(codec.List(r, 3, func() string { return r.String(1) })) }, codec.ErrBounds},
		"a byte below 0":                 {"\xff", func(r *codec.Reader) any { return r.Uint() }, codec.ErrBounds},
		"8 bytes below 0":                {"\xd3\xff\xff\xff\xff\xff\xff\xff\xff", func(r *codec.Reader) any { return r.Uint() }, codec.ErrBounds},
		"a number above all":             {"\xcf\x80\x00\x00\x00\x00\x00\x00\x00", func(r *codec.Reader) any { return r.Int() }, codec.ErrBounds},
		"a number not below":             {"\x09", func(r *codec.Reader) any { return r.Below(9) }, codec.ErrBounds},
		"a number far above":             {"\xcf\x80\x00\x00\x00\x00\x00\x00\x00", func(r *codec.Reader) any { return r.Below(9) }, codec.ErrBounds},
		"a number too small":             {"\xfe", func(r *codec.Reader) any { return r.IntIn(0, 9) }, codec.ErrBounds},
		"a number too large":             {"\x0a", func(r *codec.Reader) any { return r.IntIn(0, 9) }, codec.ErrBounds},
		"a number that does not fit":     {"\xcd\x01\x00", func(r *codec.Reader) any { return codec.Int[uint8](r) }, codec.ErrBounds},
		"a negative one that does not":   {"\xff", func(r *codec.Reader) any { return codec.Int[uint8](r) }, codec.ErrBounds},
		"a value that is none to skip":   {"\xc1", func(r *codec.Reader) any { r.Skip(1); return r.Left() - 1 }, codec.ErrBounds},
		"a deep value to skip":           {strings.Repeat("\x91", 9) + "\x01", func(r *codec.Reader) any { r.Skip(1); return r.Left() - 10 }, codec.ErrBounds},
		"more values to skip than there": {"\x01\x02", func(r *codec.Reader) any { r.Skip(3); return r.Left() }, codec.ErrBounds},
		"no byte":                        {"", func(r *codec.Reader) any { return r.Byte() }, codec.ErrBounds},
	} {
		r := codec.NewReader([]byte(c.b))
		got := c.read(r)
		if !errors.Is(r.Err(), c.want) || !reflect.ValueOf(got).IsZero() {
			t.Errorf("%s: read %v, %v", name, got, r.Err())
		}
		// The error stays, and nothing more is read.
		first := r.Err()
		r.Fail(errors.New("another"))
		if r.Uint() != 0 || r.Int() != 0 || r.IntIn(3, 4) != 3 || r.Below(3) != 0 || r.Bool() || r.String(9) != "" || r.Bytes(9) != nil ||
			r.ArrayUpTo(9) != 0 || r.Byte() != 0 || r.Err() != first || r.End() != first {
			t.Errorf("%s: something is read after an error, or it is %v", name, r.Err())
		}
	}
	var w codec.Writer
	first := errors.New("first")
	w.Fail(nil)
	w.Fail(first)
	w.Fail(errors.New("second"))
	if _, err := w.Finish(); err != first || w.Err() != first {
		t.Errorf("the writer's error is %v", err)
	}
}

// TestALaterMessageIsRead: a reader takes the elements that it knows and passes
// over the others, whatever they are, to what follows the array.
func TestALaterMessageIsRead(t *testing.T) {
	b, err := msgpack.Marshal([]any{"n1", 7, "news", []any{1, map[string]any{"a": []byte("b")}}, 1.5, nil, true})
	if err != nil {
		t.Fatal(err)
	}
	r := codec.NewReader(append(b, 42))
	more := r.ArrayAtLeast(2, 16)
	id, boot := r.String(64), r.Uint()
	r.Skip(more)
	if after := r.Uint(); r.End() != nil || more != 5 || id != "n1" || boot != 7 || after != 42 {
		t.Errorf("read %q, %d, then %d with %d to skip, %v", id, boot, after, more, r.Err())
	}
}

// TestClaimedLengthsTakeNoMemory: a few bytes that claim much cost little.
func TestClaimedLengthsTakeNoMemory(t *testing.T) {
	for name, read := range map[string]func(){
		"string": func() { codec.NewReader([]byte("\xdb\x7f\xff\xff\xff")).String(math.MaxInt) },
		"bytes":  func() { codec.NewReader([]byte("\xc6\x7f\xff\xff\xff")).Bytes(math.MaxInt) },
		"skip":   func() { codec.NewReader([]byte("\xc6\x7f\xff\xff\xff")).Skip(1) },
		"list": func() {
			r := codec.NewReader([]byte("\xdd\x7f\xff\xff\xff"))
			codec.List(r, math.MaxInt, func() [100]uint64 { return [100]uint64{r.Uint()} })
		},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range 100 {
			read()
		}
		runtime.ReadMemStats(&after)
		if each := (after.TotalAlloc - before.TotalAlloc) / 100; each > 4096 {
			t.Errorf("%s: %d bytes each", name, each)
		}
	}
}

func TestNumbersTakeNoMemory(t *testing.T) {
	v := &everything{u: 1 << 40, i: -70_000, kind: 200, below: 999, yes: true}
	buf := make([]byte, 0, 1024)
	var err error
	if n := testing.AllocsPerRun(100, func() {
		if buf, err = codec.Append(buf[:0], v); err == nil {
			err = codec.Unmarshal(buf, v)
		}
	}); err != nil || n >= 2 { // v.b is a slice of its own
		t.Errorf("%v allocations, %v", n, err)
	}
}

// FuzzReader: whatever is read is within bounds and written the same again.
func FuzzReader(f *testing.F) {
	b, err := codec.Append(nil, &everything{s: "s", b: []byte("b"), list: []string{"a", "b"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var v, again everything
		if codec.Unmarshal(b, &v) != nil {
			return
		}
		if v.below < 0 || v.below >= 1000 || v.in < -5 || v.in > 5 || len(v.s) > 300 || len(v.b) > 300 || len(v.list) > 5 {
			t.Fatalf("%+v", v)
		}
		out, err := codec.Append(nil, &v)
		if err == nil {
			err = codec.Unmarshal(out, &again)
		}
		if err != nil || !reflect.DeepEqual(v, again) {
			t.Fatalf("read %+v, then %+v, %v", v, again, err)
		}
	})
}

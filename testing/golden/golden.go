// Package golden compares encodings with the bytes that earlier versions of the
// program wrote. Nodes of two versions run side by side during an upgrade, and
// disks outlive programs: an encoding that changes by accident breaks both.
package golden

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

// record adds encodings that the file does not have. It never changes one that
// the file has.
var record = flag.Bool("golden.record", false, "add the encodings that a golden file lacks")

// File holds named encodings. Its format is text: a line with a name, then the
// bytes in hexadecimal on indented lines.
type File struct {
	t    testing.TB
	path string
	want map[string][]byte
	seen map[string]bool
}

// Open reads the file. When the test ends it fails for each encoding of the file
// that was not compared.
func Open(t testing.TB, path string) *File {
	t.Helper()
	f := &File{t: t, path: path, want: map[string][]byte{}, seen: map[string]bool{}}
	text, err := os.ReadFile(path)
	if err != nil && !(*record && os.IsNotExist(err)) {
		t.Fatal(err)
	}
	name := ""
	for line := range strings.Lines(string(text)) {
		switch digits, indented := strings.CutPrefix(line, "\t"); {
		case strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "":
		case !indented:
			name = strings.TrimSpace(line)
			if f.want[name] != nil {
				t.Fatalf("%s: %q is there twice", path, name)
			}
			f.want[name] = []byte{}
		default:
			b, err := hex.DecodeString(strings.TrimSpace(digits))
			if err != nil {
				t.Fatalf("%s: %s: %v", path, name, err)
			}
			f.want[name] = append(f.want[name], b...)
		}
	}
	t.Cleanup(func() {
		for name := range f.want {
			if !f.seen[name] && !t.Failed() {
				t.Errorf("%s: %q was not compared", path, name)
			}
		}
	})
	return f
}

// Bytes returns the encoding of that name.
func (f *File) Bytes(name string) []byte {
	f.t.Helper()
	b, ok := f.want[name]
	if !ok {
		f.t.Fatalf("%s has no %q", f.path, name)
	}
	f.seen[name] = true
	return bytes.Clone(b)
}

// Compare fails the test if got differs from the encoding of that name, and
// returns the encoding of the file.
func (f *File) Compare(name string, got []byte) []byte {
	f.t.Helper()
	if _, ok := f.want[name]; !ok && *record {
		f.add(name, got)
	}
	want := f.Bytes(name)
	if !bytes.Equal(got, want) {
		at := 0
		for at < min(len(got), len(want)) && got[at] == want[at] {
			at++
		}
		f.t.Errorf("%s: %s is encoded as %d bytes that differ from byte %d on:\n got %x\nwant %x", f.path, name, len(got), at, got, want)
	}
	return want
}

func (f *File) add(name string, b []byte) {
	var text strings.Builder
	fmt.Fprintln(&text, name)
	for rest := b; len(rest) > 0; {
		n := min(48, len(rest))
		fmt.Fprintf(&text, "\t%x\n", rest[:n])
		rest = rest[n:]
	}
	out, err := os.OpenFile(f.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = out.WriteString(text.String())
	}
	if err == nil {
		err = out.Close()
	}
	if err != nil {
		f.t.Fatal(err)
	}
	f.want[name] = bytes.Clone(b)
}

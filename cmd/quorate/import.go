package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/mattn/go-isatty"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"quorate/api/client"
	"quorate/api/wire"
)

// importHeader is the first line of a file to import.
var importHeader = []string{"account", "key", "type", "amount"}

const (
	importBatch = 1000             // entries a request
	importWait  = 60 * time.Second // for a cluster that does not answer
	shownFaults = 20               // refused entries told one by one
)

// progress is the contents of FILE.csv.import. An import continues where it stopped, and
// all its runs send the time of the first, so that entries whose keys the ledger has
// forgotten are refused and not applied twice.
type progress struct {
	IssuedAt string `json:"issued_at"`
	Size     int64  `json:"size"`
	Sum      string `json:"sum"` // of the file: another file is another import
	Done     int    `json:"done"`
	Refused  int    `json:"refused"`
}

func newImport(a *asker) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import FILE.csv",
		Short: "Record the entries of a file; safe to run twice",
		Long: `Record the entries of a CSV file whose first line is account,key,type,amount.

The whole file is read before anything is recorded. FILE.csv.import remembers how
far it got, so that a run that was cut off goes on there; running it again is
safe, because every entry has its key.`,
		Args: cobra.ExactArgs(1),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client(a.urls())
		if err != nil {
			return err
		}
		i := &importer{client: c, file: args[0], stderr: cmd.ErrOrStderr()}
		if err := i.run(cmd.Context()); err != nil {
			return fmt.Errorf("import %s: %w", args[0], err)
		}
		if err := i.report(a, cmd.OutOrStdout()); err != nil {
			return err
		}
		if i.progress.Refused > 0 {
			return fmt.Errorf("import %s: %d of %d entries were refused", args[0], i.progress.Refused, i.entries)
		}
		return nil
	}
	return cmd
}

// importer is a run of an import.
type importer struct {
	client   *client.Client
	file     string
	stderr   io.Writer
	progress progress
	entries  int
	replayed int // of those that this run sent
}

// report is the result of a complete run.
func (i *importer) report(a *asker, out io.Writer) error {
	raw, err := json.Marshal(struct {
		Entries  int    `json:"entries"`
		Replayed int    `json:"replayed"`
		Refused  int    `json:"refused"`
		IssuedAt string `json:"issued_at"`
	}{i.entries, i.replayed, i.progress.Refused, i.progress.IssuedAt})
	if err != nil {
		return err
	}
	return a.print(out, raw, func(w io.Writer) {
		fmt.Fprintf(w, "%d entries, %d refused, %d were recorded before\n", i.entries, i.progress.Refused, i.replayed)
	})
}

func (i *importer) run(ctx context.Context) error {
	if err := i.survey(); err != nil {
		return err
	}
	if err := i.resume(); err != nil {
		return err
	}
	bar := progressbar.NewOptions(i.entries, progressbar.OptionSetWriter(i.stderr), progressbar.OptionShowCount(),
		progressbar.OptionShowIts(), progressbar.OptionSetItsString("entries"), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetVisibility(terminal(i.stderr)), progressbar.OptionClearOnFinish())
	if err := bar.Set(i.progress.Done); err != nil {
		return err
	}
	err := i.read(func(line int, batch []wire.EntryRequest) error {
		if line+len(batch) <= i.progress.Done {
			return nil
		}
		if err := i.send(ctx, line, batch); err != nil {
			return err
		}
		return bar.Set(i.progress.Done)
	})
	err = errors.Join(err, bar.Finish())
	if err != nil {
		return fmt.Errorf("stopped after %d of %d entries, run it again to go on: %w", i.progress.Done, i.entries, err)
	}
	return nil
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

// survey reads the whole file once and returns an error if it cannot be imported.
func (i *importer) survey() error {
	f, err := os.Open(i.file)
	if err != nil {
		return err
	}
	defer f.Close()
	h := xxhash.New()
	if i.progress.Size, err = io.Copy(h, f); err != nil {
		return err
	}
	i.progress.Sum = fmt.Sprintf("%016x", h.Sum64())
	return i.read(func(_ int, batch []wire.EntryRequest) error { i.entries += len(batch); return nil })
}

// read calls each with the entries of the file in batches. at is the number of entries
// before the batch.
func (i *importer) read(each func(at int, batch []wire.EntryRequest) error) error {
	f, err := os.Open(i.file)
	if err != nil {
		return err
	}
	defer f.Close()
	r := csv.NewReader(bufio.NewReaderSize(f, 1<<20))
	r.ReuseRecord = true
	r.FieldsPerRecord = len(importHeader)
	header, err := r.Read()
	if err != nil || !slices.Equal(header, importHeader) {
		return fmt.Errorf("line 1: want the header %s", strings.Join(importHeader, ","))
	}
	at := 0
	batch := make([]wire.EntryRequest, 0, importBatch)
	for {
		record, err := r.Read()
		if err != nil && !errors.Is(err, io.EOF) {
			return err // it names line and column
		}
		if err == nil {
			e := wire.EntryRequest{Account: record[0], Key: record[1], Type: record[2], Amount: record[3]}
			if column, fault := faultOf(e); fault != "" {
				line, col := r.FieldPos(column)
				return fmt.Errorf("line %d, column %d: %s: %s", line, col, importHeader[column], fault)
			}
			batch = append(batch, e)
		}
		if len(batch) == importBatch || err != nil && len(batch) > 0 {
			if err := each(at, batch); err != nil {
				return err
			}
			at += len(batch)
			batch = batch[:0]
		}
		if err != nil {
			return nil
		}
	}
}

// faultOf validates an entry by the rules of the API. It returns the column of the first
// invalid value and the reason.
func faultOf(e wire.EntryRequest) (column int, fault string) {
	body, err := json.Marshal(e)
	if err != nil {
		return 0, err.Error()
	}
	var s wire.Scanner
	s.Reset(body)
	if _, err = wire.ParseItem(&s); err == nil {
		return 0, ""
	}
	var f *wire.FieldError
	if errors.As(err, &f) {
		if c := slices.Index(importHeader, f.Field); c >= 0 {
			return c, f.Detail
		}
	}
	return 0, err.Error()
}

// resume reads the progress of an earlier run, or starts a new import.
func (i *importer) resume() error {
	was := progress{}
	b, err := os.ReadFile(i.file + ".import")
	switch {
	case errors.Is(err, os.ErrNotExist):
		i.progress.IssuedAt = time.Now().UTC().Format(time.RFC3339)
		return i.save()
	case err != nil:
		return err
	}
	if err := json.Unmarshal(b, &was); err != nil {
		return fmt.Errorf("%s.import: %w", i.file, err)
	}
	if was.Size != i.progress.Size || was.Sum != i.progress.Sum {
		return fmt.Errorf("the file has changed since its import began at %s; give the changed one another name", was.IssuedAt)
	}
	i.progress = was
	if i.progress.Done >= i.entries {
		i.progress.Done, i.progress.Refused = 0, 0 // once more from the start: nothing counts twice
	}
	return nil
}

// save replaces the progress file atomically.
func (i *importer) save() error {
	b, err := json.Marshal(i.progress)
	if err != nil {
		return err
	}
	name := i.file + ".import"
	f, err := os.OpenFile(name+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	// The file must be on the disk before entries are sent: if the time of the first run
	// were lost, the next run would apply entries again whose keys are forgotten.
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// send records a batch. It retries, because every entry has its key.
func (i *importer) send(ctx context.Context, at int, batch []wire.EntryRequest) error {
	for k := range batch {
		batch[k].IssuedAt = i.progress.IssuedAt
	}
	ctx, cancel := context.WithTimeout(ctx, importWait)
	defer cancel()
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		results, err := i.client.Entries(ctx, batch)
		if err == nil {
			i.note(at, results)
			i.progress.Done = at + len(batch)
			return i.save()
		}
		if !errors.Is(err, client.ErrUnavailable) || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return err
		}
	}
}

// note reports the entries that were refused.
func (i *importer) note(at int, results []client.BulkResult) {
	for k, r := range results {
		if r.Replayed {
			i.replayed++
		}
		if r.Status == 200 {
			continue
		}
		if i.progress.Refused++; i.progress.Refused <= shownFaults {
			fmt.Fprintf(i.stderr, "entry %d: %s: %s\n", at+k+1, r.Code, r.Detail)
		}
	}
}

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

// importMargin is by how much the clock of the client may have been set back since an
// import of an earlier version began.
const importMargin = 2 * time.Hour

// progress is the content of FILE.csv.import. An import resumes where it stopped. Each
// run sends a batch with the issue time that the batch was first sent with, so that the
// cluster refuses entries whose keys it has forgotten, and applies none twice.
type progress struct {
	Size    int64  `json:"size"`
	Sum     string `json:"sum"` // of the file: a changed file is another import
	Done    int    `json:"done"`
	Refused int    `json:"refused"`
	Acked   int    `json:"acked,omitempty"` // entries whose results a run has received, in whichever run

	// Batches holds the issue time of every Batch entries from the first. A time is
	// the cluster's, and is saved before the batch is sent.
	Batch   int      `json:"batch,omitempty"`
	Batches []string `json:"batches,omitempty"`

	// IssuedAt is the issue time of all entries, by the clock of the client, in the
	// files of earlier versions. Else it is the first of Batches.
	IssuedAt string `json:"issued_at,omitempty"`
}

func newImport(a *asker) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import FILE.csv",
		Short: "Record the entries of a file; safe to run twice",
		Long: `Record the entries of a CSV file whose first line is account,key,type,amount.

The command reads the whole file before it records anything. FILE.csv.import stores
the progress, so that an interrupted run continues where it stopped. The command is
safe to repeat, because every entry has a key, and every batch keeps the time at
which it was first sent. The time is the cluster's: the clock of this machine has no
effect.`,
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
	expired  int // of those that an earlier run received results for, and whose keys are forgotten
	replayed int // of those that this run sent
}

// report is the result of a complete run.
func (i *importer) report(a *asker, out io.Writer) error {
	raw, err := json.Marshal(struct {
		Entries  int    `json:"entries"`
		Replayed int    `json:"replayed"`
		Refused  int    `json:"refused"`
		Expired  int    `json:"expired"`
		IssuedAt string `json:"issued_at"`
	}{i.entries, i.replayed, i.progress.Refused, i.expired, i.progress.IssuedAt})
	if err != nil {
		return err
	}
	return a.print(out, raw, func(w io.Writer) {
		fmt.Fprintf(w, "%d entries, %d refused, %d were recorded before\n", i.entries, i.progress.Refused, i.replayed)
		if i.expired > 0 {
			fmt.Fprintf(w, "%d were sent by an earlier run, and the cluster has forgotten their keys: they were not applied again\n", i.expired)
		}
	})
}

func (i *importer) run(ctx context.Context) error {
	if err := i.survey(); err != nil {
		return err
	}
	if err := i.resume(ctx); err != nil {
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
func (i *importer) resume(ctx context.Context) error {
	was := progress{}
	b, err := os.ReadFile(i.file + ".import")
	switch {
	case errors.Is(err, os.ErrNotExist):
		i.progress.Batch = importBatch
		return nil
	case err != nil:
		return err
	}
	if err := json.Unmarshal(b, &was); err != nil {
		return fmt.Errorf("%s.import: %w", i.file, err)
	}
	if was.Size != i.progress.Size || was.Sum != i.progress.Sum {
		return fmt.Errorf("the file has changed since its import began at %s; give the changed one another name", was.IssuedAt)
	}
	if was.Batch == 0 {
		if err := i.adopt(ctx, &was); err != nil {
			return fmt.Errorf("%s.import: %w", i.file, err)
		}
	}
	if was.Batch < 1 || was.Done < 0 {
		return fmt.Errorf("%s.import: it is damaged", i.file)
	}
	i.progress = was
	if i.progress.Done >= i.entries {
		i.progress.Done, i.progress.Refused = 0, 0 // once more from the start: nothing counts twice
	}
	return nil
}

// adopt converts the progress of an earlier version, which gave all entries one issue
// time by the clock of the client. That clock could be ahead, and then the cluster would
// apply an entry again whose key it has forgotten. The entries that may have been sent
// get a time that is certainly not later than their first sending, so that the cluster
// replays or refuses them; the others get times of their own.
func (i *importer) adopt(ctx context.Context, was *progress) error {
	began, err := time.Parse(time.RFC3339, was.IssuedAt)
	if err != nil {
		return err
	}
	now, err := i.clusterTime(ctx)
	if err != nil {
		return err
	}
	// Only the difference of two times of the client's clock is used. A negative one
	// shows by how much, at least, the clock was set back.
	issued := now.Add(-time.Since(began).Abs() - importMargin).Format(time.RFC3339Nano)
	was.Batch, was.IssuedAt, was.Acked = importBatch, issued, was.Done
	for sent := 0; sent < min(was.Done+importBatch, i.entries); sent += importBatch {
		was.Batches = append(was.Batches, issued)
	}
	return nil
}

// clusterTime returns the time of the cluster's log.
func (i *importer) clusterTime(ctx context.Context) (time.Time, error) {
	status, err := i.client.Cluster(ctx)
	if err != nil {
		return time.Time{}, fmt.Errorf("ask for the cluster's time: %w", err)
	}
	if status.Time == nil {
		return time.Time{}, errors.New("the cluster shows no time: it is starting, or its nodes must be upgraded first")
	}
	return time.Parse(time.RFC3339, *status.Time)
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
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// send records one batch. It repeats it until the cluster answers, which is safe: every
// entry has its key.
func (i *importer) send(ctx context.Context, at int, batch []wire.EntryRequest) error {
	ctx, cancel := context.WithTimeout(ctx, importWait)
	defer cancel()
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		results, err := i.attempt(ctx, at, batch)
		if err == nil {
			i.note(at, results)
			i.progress.Done = at + len(batch)
			i.progress.Acked = max(i.progress.Acked, i.progress.Done)
			if i.progress.Done < i.entries {
				return nil // saved with the time of the next batch
			}
			return i.save()
		}
		if !errors.Is(err, client.ErrUnavailable) || ctx.Err() != nil {
			return errors.Join(err, i.saveSent())
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return errors.Join(err, i.saveSent())
		}
	}
}

// saveSent saves the progress, unless no run has sent anything.
func (i *importer) saveSent() error {
	if len(i.progress.Batches) == 0 {
		return nil
	}
	return i.save()
}

// attempt sends a batch once. A batch that has no issue time gets the cluster's.
func (i *importer) attempt(ctx context.Context, at int, batch []wire.EntryRequest) ([]client.BulkResult, error) {
	for tries := 0; ; tries++ {
		if err := i.stamp(ctx, at, batch); err != nil {
			return nil, err
		}
		results, err := i.client.Entries(ctx, batch)
		if err != nil || tries == stampTries || !slices.ContainsFunc(results, func(r client.BulkResult) bool { return r.Code == issuedInFuture }) {
			return results, err
		}
		// The log's time stands still while the clock of a new leader is behind. No
		// entry was applied with this issue time, so an earlier one is as good.
		if err := i.earlier(ctx, at); err != nil {
			return nil, err
		}
	}
}

const (
	stampTries     = 3
	issuedInFuture = "issued_in_future"
	keyExpired     = "key_expired"
)

// stamp sets the issue times of a batch. New ones are on the disk before it returns: with
// a time that was lost, the next run would send the entries as new ones.
func (i *importer) stamp(ctx context.Context, at int, batch []wire.EntryRequest) error {
	p := &i.progress
	last, known := (at+len(batch)-1)/p.Batch, len(p.Batches)
	if last >= known {
		now, err := i.clusterTime(ctx)
		if err != nil {
			return err
		}
		for len(p.Batches) <= last {
			p.Batches = append(p.Batches, now.Format(time.RFC3339Nano))
		}
		p.IssuedAt = p.Batches[0]
		if err := i.save(); err != nil {
			p.Batches = p.Batches[:known]
			return err
		}
	}
	for k := range batch {
		batch[k].IssuedAt = p.Batches[(at+k)/p.Batch]
	}
	return nil
}

// earlier replaces the issue time of a batch by the cluster's time, if that is earlier.
func (i *importer) earlier(ctx context.Context, at int) error {
	now, err := i.clusterTime(ctx)
	if err != nil {
		return err
	}
	of := &i.progress.Batches[at/i.progress.Batch]
	if was, err := time.Parse(time.RFC3339, *of); err != nil || !now.Before(was) {
		return err
	}
	*of = now.Format(time.RFC3339Nano)
	return i.save()
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
		if r.Code == keyExpired && at+k < i.progress.Acked {
			i.expired++
			continue
		}
		if i.progress.Refused++; i.progress.Refused <= shownFaults {
			fmt.Fprintf(i.stderr, "entry %d: %s: %s\n", at+k+1, r.Code, r.Detail)
		}
	}
}

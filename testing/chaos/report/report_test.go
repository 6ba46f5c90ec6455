package report

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"quorate/testing/chaos/model"
	"quorate/testing/chaos/validate"
)

// long is the history of a run of eleven minutes with a fault in each.
func long() *model.History {
	h := &model.History{Nodes: []string{"n1", "n2", "n3"}, Length: 11 * time.Minute, Seconds: map[string][]model.Second{}}
	for i := range 11 {
		at := time.Duration(i) * time.Minute
		h.AddFault(&model.Fault{Name: "kill-leader", Kind: model.Kill, Nodes: []string{"n1"}, Start: at, Heal: at + time.Second, Over: at + 4*time.Second})
		h.Views = append(h.Views, model.View{At: at, Leader: h.Nodes[i%3], Term: uint64(i), Epoch: uint64(i)})
	}
	return h
}

// TestPageOfALongRun wants a picture for each five minutes at most, each fault in
// one of them, and the figures of all in the page and its summary.
func TestPageOfALongRun(t *testing.T) {
	h := long()
	doc := &Document{Command: "make soak SEED=7", Runs: []*Run{{Title: "namespaces", Seed: 7, History: h, Report: validate.All(h)}}}
	var page, summary bytes.Buffer
	if err := doc.Write(&page); err != nil {
		t.Fatal(err)
	}
	if err := doc.WriteSummary(&summary); err != nil {
		t.Fatal(err)
	}
	timeline := string(doc.Runs[0].Timeline())
	if got := strings.Count(timeline, "<svg"); got != 3 {
		t.Errorf("%d pictures of 11 minutes, want 3", got)
	}
	if got := strings.Count(timeline, ">kill-leader n1</text>"); got != 11 {
		t.Errorf("%d faults are named in the pictures, want 11", got)
	}
	for _, want := range []string{"make soak SEED=7", "FAILED", "there was no check"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if want := "| kill-leader | 11 | 3.0, 3.0 |"; !strings.Contains(summary.String(), want) {
		t.Errorf("the summary does not have %q:\n%s", want, summary.String())
	}
}

// TestLabelsKeepApart wants the names of faults that strike at one time in lanes of
// their own, at the end of a picture too.
func TestLabelsKeepApart(t *testing.T) {
	c := &canvas{to: time.Minute}
	var faults []*model.Fault
	for _, at := range []time.Duration{time.Second, 2 * time.Second, 50 * time.Second, 58 * time.Second, 59 * time.Second} {
		faults = append(faults, &model.Fault{Name: "a-fault-with-a-name", Kind: model.Kill, Start: at, Heal: at, Over: at})
	}
	c.faults(faults)
	lanes := map[string]int{}
	for _, part := range strings.Split(c.String(), "<text ")[1:] {
		text, _, _ := strings.Cut(part, "</text>")
		if _, y, ok := strings.Cut(text, `y="`); ok && strings.Contains(text, "a-fault") {
			lanes[y[:strings.IndexByte(y, '"')]]++
		}
	}
	if len(lanes) != 3 {
		t.Errorf("%d lanes, want 3: %v", len(lanes), lanes)
	}
}

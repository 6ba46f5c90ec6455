package ledger

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/vmihailenco/msgpack/v5"

	"quorate/limiter/bucket"
)

// Bounds of one command.
const (
	MaxOps     = 1000    // operations
	MaxCommand = 3 << 19 // bytes; a policy of MaxPolicy fits
)

// OpKind is what an operation does.
type OpKind uint8

// The kinds of operations. Append only: the numbers are in the log.
const (
	OpEntry OpKind = iota
	OpPatch
	OpMap
	OpClusterID
	OpPolicy // replaces the policy
	OpDelete // removes an empty account
	OpTick   // changes nothing but the time
	OpVersion
	OpRestore // a step of a restore
	OpToken   // makes a token
	OpRevoke  // takes a token away
	OpNote    // changes nothing but the audit
	OpRemove  // a node is to leave the cluster for good
	numOps
)

// Op is one operation of a command; the fields that its kind names hold.
type Op struct {
	Kind    OpKind
	Account string // OpEntry, OpPatch, OpDelete

	Key    string // OpEntry
	Type   EntryType
	Amount Micros
	Issued int64 // milliseconds since 1970; 0: not said

	Patch Patch // OpPatch

	Map       *Map   // OpMap: the next one; its epoch must follow the one in force
	ClusterID string // OpClusterID: set once

	Doc     string // OpPolicy
	IfMatch uint64 // OpPolicy: the revision it replaces; 0: any

	Version uint64 // OpVersion: of commands, that every node knows

	Restore *RestoreStep // OpRestore

	Token *Token // OpToken; of OpRevoke only the name counts
	Guard bool   // OpToken, OpRevoke: refused when no admin would be left among the tokens
	Note  *Note  // OpNote

	By   string // who asked for it, for the audit; empty: nobody said who they are
	Node string // OpRemove: its id
}

// Patch changes the fields of an account that are not nil.
type Patch struct {
	Plan       *Plan
	UsageLimit *Micros // NoUsageLimit takes the limit away
	Suspended  *bool
	Overrides  *Overrides // the whole list; an empty one takes all away
}

// Command is one entry of the log: operations, and the time its proposer
// stamped it with.
type Command struct {
	Time int64 // milliseconds since 1970
	Ops  []Op
}

// Encode returns the command's bytes.
func (c *Command) Encode() ([]byte, error) {
	var buf bytes.Buffer
	w := &writer{e: msgpack.NewEncoder(&buf)}
	w.array(3)
	w.uint(VersionOf(c.Ops))
	w.int(c.Time)
	encodeOps(w, c.Ops)
	return buf.Bytes(), w.err
}

// DecodeCommand reads what Encode wrote. A version it does not know is
// ErrUnknownCommand.
func DecodeCommand(b []byte) (*Command, error) {
	if len(b) > MaxCommand {
		return nil, fmt.Errorf("command of %d bytes, at most %d", len(b), MaxCommand)
	}
	in := bytes.NewReader(b)
	r := &reader{d: msgpack.NewDecoder(in)}
	r.array(3)
	if v := r.uint(); r.err == nil && (v < firstVersion || v > newestVersion) {
		return nil, fmt.Errorf("command version %d, this program knows %d: %w", v, newestVersion, ErrUnknownCommand)
	}
	c := &Command{Time: r.int()}
	c.Ops = decodeOps(r)
	if r.err == nil && in.Len() > 0 {
		r.err = errors.New("bytes after the command")
	}
	return c, r.err
}

// SizeOf returns about how many bytes operations take, encoded.
func SizeOf(ops []Op) (n int) {
	for i := range ops {
		o := &ops[i]
		n += 32 + len(o.Account) + len(o.Key) + len(o.Doc)
		if o.Map != nil {
			n += 6 * len(o.Map.Places)
		}
		if o.Restore != nil {
			n += len(o.Restore.Block)
		}
		if l := o.Patch.Overrides; l != nil {
			n += 512 * len(l.List)
		}
	}
	return n
}

// EncodeOps and DecodeOps carry operations from a node to the leader.
func EncodeOps(ops []Op) ([]byte, error) {
	var buf bytes.Buffer
	w := &writer{e: msgpack.NewEncoder(&buf)}
	encodeOps(w, ops)
	return buf.Bytes(), w.err
}

// DecodeOps reads what EncodeOps wrote.
func DecodeOps(b []byte) ([]Op, error) {
	r := &reader{d: msgpack.NewDecoder(bytes.NewReader(b))}
	ops := decodeOps(r)
	return ops, r.err
}

func encodeOps(w *writer, ops []Op) {
	w.array(len(ops))
	for i := range ops {
		ops[i].encode(w)
	}
}

func decodeOps(r *reader) []Op {
	n := r.arrayUpTo(MaxOps)
	ops := make([]Op, n)
	for i := range ops {
		ops[i].decode(r)
	}
	return ops
}

// sizes are how many elements an operation is encoded in. Who asked for it is
// one more, where it is known.
var sizes = [numOps]int{
	OpEntry: 6, OpPatch: 7, OpMap: 2, OpClusterID: 2, OpPolicy: 3, OpDelete: 2, OpTick: 1, OpVersion: 2, OpRestore: 6,
	OpToken: 5, OpRevoke: 3, OpNote: 4, OpRemove: 2,
}

func (o *Op) encode(w *writer) {
	if o.Kind >= numOps {
		w.do(fmt.Errorf("operation %d: %w", o.Kind, ErrUnknownCommand))
		return
	}
	size := sizes[o.Kind]
	if o.By != "" {
		size++
	}
	w.array(size)
	w.uint(uint64(o.Kind))
	o.encodeBody(w)
	if o.By != "" {
		w.string(o.By)
	}
}

func (o *Op) encodeBody(w *writer) {
	switch o.Kind {
	case OpEntry:
		w.string(o.Account)
		w.string(o.Key)
		w.uint(uint64(o.Type))
		w.int(int64(o.Amount))
		w.int(o.Issued)
	case OpPatch:
		w.string(o.Account)
		encodeOptional(w, o.Patch.Plan)
		encodeOptional(w, o.Patch.UsageLimit)
		suspended := -1
		if o.Patch.Suspended != nil {
			suspended = 0
			if *o.Patch.Suspended {
				suspended = 1
			}
		}
		w.int(int64(suspended))
		w.bool(o.Patch.Overrides != nil)
		encodeOverrides(w, o.Patch.Overrides)
	case OpMap:
		w.do(o.Map.encode(w.e))
	case OpClusterID:
		w.string(o.ClusterID)
	case OpPolicy:
		w.string(o.Doc)
		w.uint(o.IfMatch)
	case OpDelete:
		w.string(o.Account)
	case OpVersion:
		w.uint(o.Version)
	case OpRestore:
		o.Restore.encode(w)
	case OpToken:
		w.string(o.Token.Name)
		w.uint(uint64(o.Token.Scopes))
		w.bytes(o.Token.Hash[:])
		w.bool(o.Guard)
	case OpRevoke:
		w.string(o.Token.Name)
		w.bool(o.Guard)
	case OpNote:
		w.string(o.Note.Action)
		w.string(o.Note.Target)
		w.string(o.Note.Detail)
	case OpRemove:
		w.string(o.Node)
	}
}

func (o *Op) decode(r *reader) {
	n := r.arrayUpTo(8)
	o.Kind = OpKind(r.small(int(numOps)))
	size := sizes[o.Kind]
	if r.err == nil && n != size && n != size+1 {
		r.err = fmt.Errorf("operation %d of %d elements: %w", o.Kind, n, ErrUnknownCommand)
	}
	o.decodeBody(r)
	if r.err == nil && n == size+1 {
		o.By = r.string(MaxActor)
	}
}

func (o *Op) decodeBody(r *reader) {
	switch o.Kind {
	case OpEntry:
		o.Account = r.string(bucket.MaxAccount)
		o.Key = r.string(MaxKey)
		o.Type = EntryType(r.small(len(entryNames)))
		o.Amount = Micros(r.int())
		o.Issued = r.int()
	case OpPatch:
		o.Account = r.string(bucket.MaxAccount)
		if v := r.int(); v >= 0 && v < int64(len(planNames)) {
			p := Plan(v)
			o.Patch.Plan = &p
		}
		if v := Micros(r.int()); v >= NoUsageLimit {
			o.Patch.UsageLimit = &v
		}
		if v := r.int(); v >= 0 {
			b := v == 1
			o.Patch.Suspended = &b
		}
		given := r.bool()
		if list := decodeOverrides(r); given {
			if list == nil {
				list = &Overrides{}
			}
			o.Patch.Overrides = list
		}
	case OpMap:
		if r.err == nil {
			o.Map, r.err = decodeMap(r.d)
		}
	case OpClusterID:
		o.ClusterID = r.string(MaxNodeID)
	case OpPolicy:
		o.Doc = r.string(MaxPolicy)
		o.IfMatch = r.uint()
	case OpDelete:
		o.Account = r.string(bucket.MaxAccount)
	case OpVersion:
		if o.Version = r.uint(); r.err == nil && o.Version > newestVersion {
			r.err = fmt.Errorf("the cluster is to use command version %d, this program knows %d: %w", o.Version, newestVersion, ErrUnknownCommand)
		}
	case OpRestore:
		o.Restore = &RestoreStep{}
		o.Restore.decode(r)
	case OpToken:
		o.Token = &Token{Name: r.string(MaxTokenName), Scopes: Scopes(r.small(int(allScopes) + 1))}
		copy(o.Token.Hash[:], r.string(len(o.Token.Hash)))
		o.Guard = r.bool()
	case OpRevoke:
		o.Token = &Token{Name: r.string(MaxTokenName)}
		o.Guard = r.bool()
	case OpNote:
		o.Note = &Note{Action: r.string(MaxAuditAction), Target: r.string(MaxAuditTarget), Detail: r.string(MaxAuditDetail)}
	case OpRemove:
		o.Node = r.string(MaxNodeID)
	}
}

// encodeOptional writes -2 for nil: -1 is NoUsageLimit.
func encodeOptional[T ~int64 | ~uint8](w *writer, p *T) {
	if p == nil {
		w.int(-2)
		return
	}
	w.int(int64(*p))
}

// Result is what became of one operation.
type Result struct {
	Err      error // nil, or one of the package's errors
	Replayed bool  // OpEntry: the key had been applied before
	Entry    Entry // OpEntry
	Account  Account
	Revision uint64 // OpPolicy: the one in force afterwards
	sum      uint64 // of what the running hash covers beside the rest: what was staged, tokens, the audit; not sent
}

// Entry is an applied entry of the ledger.
type Entry struct {
	Key    string
	Type   EntryType
	Amount Micros
	Index  uint64 // log index it was applied at
}

// EncodeResults and DecodeResults carry results back to the node that asked.
func EncodeResults(results []Result) ([]byte, error) {
	var buf bytes.Buffer
	w := &writer{e: msgpack.NewEncoder(&buf)}
	w.array(len(results))
	for i := range results {
		res := &results[i]
		w.array(8)
		w.uint(uint64(outcomeOf(res.Err)))
		w.bool(res.Replayed)
		w.string(res.Entry.Key)
		w.uint(uint64(res.Entry.Type))
		w.int(int64(res.Entry.Amount))
		w.uint(res.Entry.Index)
		res.Account.encode(w)
		w.uint(res.Revision)
	}
	return buf.Bytes(), w.err
}

// DecodeResults reads what EncodeResults wrote.
func DecodeResults(b []byte) ([]Result, error) {
	r := &reader{d: msgpack.NewDecoder(bytes.NewReader(b))}
	results := make([]Result, r.arrayUpTo(MaxOps))
	for i := range results {
		res := &results[i]
		r.array(8)
		res.Err = outcomes[r.small(len(outcomes))]
		res.Replayed = r.bool()
		res.Entry.Key = r.string(MaxKey)
		res.Entry.Type = EntryType(r.small(len(entryNames)))
		res.Entry.Amount = Micros(r.int())
		res.Entry.Index = r.uint()
		res.Account.decode(r)
		res.Revision = r.uint()
	}
	return results, r.err
}

func outcomeOf(err error) int {
	for i, known := range outcomes {
		if err == nil && known == nil || known != nil && errors.Is(err, known) {
			return i
		}
	}
	return outcomeOf(ErrUnknownCommand)
}

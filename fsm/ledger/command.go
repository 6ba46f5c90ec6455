package ledger

import (
	"errors"
	"fmt"

	"quorate/limiter/bucket"
	"quorate/limiter/codec"
)

// The limits of one command.
const (
	MaxOps     = 1000    // operations
	MaxCommand = 3 << 19 // bytes; enough for a policy of MaxPolicy
)

// OpKind is the kind of an operation.
type OpKind uint8

// The kinds of operations. Append only: the numbers are in the log.
const (
	OpEntry OpKind = iota
	OpPatch
	OpMap
	OpClusterID
	OpPolicy // replaces the policy
	OpDelete // deletes an empty account
	OpTick   // changes only the time
	OpVersion
	OpRestore // a step of a restore
	OpToken   // creates a token
	OpRevoke  // revokes a token
	OpNote    // changes only the audit
	OpRemove  // permanently removes a node from the cluster
	OpSetting // changes a setting of the cluster
	OpSecret  // sets the key of the ids of reservations, once
	OpSettle  // records what a reservation cost; the key is its id
	numOps
)

// Op is one operation of a command. Its kind determines which fields are used.
type Op struct {
	Kind    OpKind
	Account string // OpEntry, OpPatch, OpDelete, OpSettle

	Key    string // OpEntry, OpSettle; both have the next two
	Type   EntryType
	Amount Money
	Issued int64 // milliseconds since 1970; 0: not given

	Patch Patch // OpPatch

	Map       *Map   // OpMap: the next map; its epoch must be that of the map in force plus 1
	ClusterID string // OpClusterID: can be set once

	Doc     string // OpPolicy
	IfMatch uint64 // OpPolicy: the revision to replace; 0: any

	Version uint64 // OpVersion: the version of commands that every node knows

	Restore *RestoreStep // OpRestore

	Token *Token // OpToken; OpRevoke uses only its name
	Guard bool   // OpToken, OpRevoke: refuse if no token with the scope admin would be left
	Note  *Note  // OpNote

	By   string // name of the caller for the audit; empty: the caller had no token
	Node string // OpRemove: id of the node

	Setting Setting // OpSetting
	Secret  Secret  // OpSecret
}

// Patch changes the fields of an account that are not nil.
type Patch struct {
	Plan       *Plan
	UsageLimit *Money // NoUsageLimit removes the limit
	Suspended  *bool
	Overrides  *Overrides // the whole list; an empty list removes all overrides
}

// Command is one entry of the log: operations, and the time at which the leader proposed
// them.
type Command struct {
	Time int64 // milliseconds since 1970
	Ops  []Op
}

// Encode encodes the command for DecodeCommand.
func (c *Command) Encode() ([]byte, error) {
	w, v := codec.NewWriter(), VersionOf(c.Ops)
	w.Array(3)
	w.Uint(v)
	w.Int(c.Time)
	encodeOps(w, c.Ops, v)
	return w.Finish()
}

// DecodeCommand decodes the result of Encode. The error wraps ErrUnknownCommand if the
// command has a version or an operation that this program does not know.
func DecodeCommand(b []byte) (*Command, error) {
	if len(b) > MaxCommand {
		return nil, fmt.Errorf("command of %d bytes, at most %d", len(b), MaxCommand)
	}
	r := codec.NewReader(b)
	r.Array(3)
	v := r.Uint()
	if r.Err() == nil && (v < firstVersion || v > newestVersion) {
		return nil, fmt.Errorf("command version %d, this program knows %d: %w", v, newestVersion, ErrUnknownCommand)
	}
	c := &Command{Time: r.Int()}
	c.Ops = decodeOps(r, v)
	return c, r.End()
}

// SizeOf returns the approximate size of encoded operations in bytes.
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

// Messages between nodes that need nanoVersion begin with their version, a small number.
// All others begin with an array, as they did before.

func writeVersion(w *codec.Writer, v uint64) {
	if v >= nanoVersion {
		w.Uint(v)
	}
}

func readVersion(b []byte) (r *codec.Reader, v uint64) {
	r, v = codec.NewReader(b), nanoVersion-1
	if len(b) > 0 && b[0] < 0x80 { // a number in MessagePack
		if v = r.Uint(); v < nanoVersion || v > newestVersion {
			r.Fail(fmt.Errorf("message of version %d, this program knows %d: %w", v, newestVersion, ErrUnknownCommand))
		}
	}
	return r, v
}

// EncodeOps encodes operations that a node forwards to the leader.
func EncodeOps(ops []Op) ([]byte, error) {
	w, v := codec.NewWriter(), VersionOf(ops)
	writeVersion(w, v)
	encodeOps(w, ops, v)
	return w.Finish()
}

// DecodeOps decodes the result of EncodeOps.
func DecodeOps(b []byte) ([]Op, error) {
	r, v := readVersion(b)
	ops := decodeOps(r, v)
	return ops, r.End()
}

// encodeOps writes the operations in the form of version v, which must have them all.
func encodeOps(w *codec.Writer, ops []Op, v uint64) {
	w.Array(len(ops))
	for i := range ops {
		ops[i].encode(w, v)
	}
}

func decodeOps(r *codec.Reader, v uint64) []Op {
	n := r.ArrayUpTo(MaxOps)
	ops := make([]Op, n)
	for i := range ops {
		ops[i].decode(r, v)
	}
	return ops
}

// sizes is the number of elements in an encoded operation of each kind. Op.By is one more
// element, if it is not empty.
var sizes = [numOps]int{
	OpEntry: 6, OpPatch: 7, OpMap: 2, OpClusterID: 2, OpPolicy: 3, OpDelete: 2, OpTick: 1, OpVersion: 2, OpRestore: 6,
	OpToken: 5, OpRevoke: 3, OpNote: 4, OpRemove: 2, OpSetting: 3, OpSecret: 2, OpSettle: 4,
}

func (o *Op) encode(w *codec.Writer, v uint64) {
	if o.Kind >= numOps {
		w.Fail(fmt.Errorf("operation %d: %w", o.Kind, ErrUnknownCommand))
		return
	}
	size := sizes[o.Kind]
	if o.By != "" {
		size++
	}
	w.Array(size)
	w.Uint(uint64(o.Kind))
	o.encodeBody(w, v)
	if o.By != "" {
		w.String(o.By)
	}
}

func (o *Op) encodeBody(w *codec.Writer, v uint64) {
	switch o.Kind {
	case OpEntry:
		w.String(o.Account)
		w.String(o.Key)
		w.Uint(uint64(o.Type))
		o.Amount.encode(w, v)
		w.Int(o.Issued)
	case OpPatch:
		w.String(o.Account)
		plan := -2
		if o.Patch.Plan != nil {
			plan = int(*o.Patch.Plan)
		}
		w.Int(int64(plan))
		if l := o.Patch.UsageLimit; l != nil {
			encodeLimit(w, *l, v)
		} else {
			w.Int(noLimitGiven)
		}
		suspended := -1
		if o.Patch.Suspended != nil {
			suspended = 0
			if *o.Patch.Suspended {
				suspended = 1
			}
		}
		w.Int(int64(suspended))
		w.Bool(o.Patch.Overrides != nil)
		encodeOverrides(w, o.Patch.Overrides)
	case OpMap:
		o.Map.encode(w)
	case OpClusterID:
		w.String(o.ClusterID)
	case OpPolicy:
		w.String(o.Doc)
		w.Uint(o.IfMatch)
	case OpDelete:
		w.String(o.Account)
	case OpVersion:
		w.Uint(o.Version)
	case OpRestore:
		o.Restore.encode(w)
	case OpToken:
		w.String(o.Token.Name)
		w.Uint(uint64(o.Token.Scopes))
		w.Bytes(o.Token.Hash[:])
		w.Bool(o.Guard)
	case OpRevoke:
		w.String(o.Token.Name)
		w.Bool(o.Guard)
	case OpNote:
		w.String(o.Note.Action)
		w.String(o.Note.Target)
		w.String(o.Note.Detail)
	case OpRemove:
		w.String(o.Node)
	case OpSetting:
		o.Setting.encode(w)
	case OpSecret:
		w.Bytes(o.Secret[:])
	case OpSettle:
		w.String(o.Account)
		w.String(o.Key)
		w.Int(int64(o.Amount)) // no version below nanoVersion has it
	}
}

func (o *Op) decode(r *codec.Reader, v uint64) {
	n := r.ArrayUpTo(8)
	o.Kind = OpKind(r.Below(int(numOps)))
	size := sizes[o.Kind]
	if n != size && n != size+1 {
		r.Fail(fmt.Errorf("operation %d of %d elements: %w", o.Kind, n, ErrUnknownCommand))
	}
	o.decodeBody(r, v)
	if r.Err() == nil && n == size+1 {
		o.By = r.String(MaxActor)
	}
}

func (o *Op) decodeBody(r *codec.Reader, v uint64) {
	switch o.Kind {
	case OpEntry:
		o.Account = r.String(bucket.MaxAccount)
		o.Key = r.String(MaxKey)
		o.Type = decodeEntryType(r, v)
		o.Amount, _ = moneyIn(r.Int(), v) // what does not fit is above MaxAmount in either unit
		o.Issued = r.Int()
	case OpPatch:
		o.Account = r.String(bucket.MaxAccount)
		if n := r.IntIn(-2, int64(len(planNames))-1); n >= 0 {
			p := Plan(n)
			o.Patch.Plan = &p
		}
		if limit, ok := decodeLimit(r, v, o.Account); ok {
			o.Patch.UsageLimit = &limit
		}
		if n := r.IntIn(-1, 1); n >= 0 {
			b := n == 1
			o.Patch.Suspended = &b
		}
		given := r.Bool()
		if list := decodeOverrides(r); given {
			if list == nil {
				list = &Overrides{}
			}
			o.Patch.Overrides = list
		}
	case OpMap:
		o.Map = decodeMap(r)
	case OpClusterID:
		o.ClusterID = r.String(MaxNodeID)
	case OpPolicy:
		o.Doc = r.String(MaxPolicy)
		o.IfMatch = r.Uint()
	case OpDelete:
		o.Account = r.String(bucket.MaxAccount)
	case OpVersion:
		if o.Version = r.Uint(); o.Version > newestVersion {
			r.Fail(fmt.Errorf("the cluster will use command version %d, this program knows %d: %w", o.Version, newestVersion, ErrUnknownCommand))
		}
	case OpRestore:
		o.Restore = &RestoreStep{}
		o.Restore.decode(r)
	case OpToken:
		o.Token = &Token{Name: r.String(MaxTokenName), Scopes: Scopes(r.Below(int(allScopes) + 1))}
		r.Fill(o.Token.Hash[:])
		o.Guard = r.Bool()
	case OpRevoke:
		o.Token = &Token{Name: r.String(MaxTokenName)}
		o.Guard = r.Bool()
	case OpNote:
		o.Note = &Note{Action: r.String(MaxAuditAction), Target: r.String(MaxAuditTarget), Detail: r.String(MaxAuditDetail)}
	case OpRemove:
		o.Node = r.String(MaxNodeID)
	case OpSetting:
		o.Setting = decodeSetting(r)
	case OpSecret:
		r.Fill(o.Secret[:])
	case OpSettle:
		o.Account = r.String(bucket.MaxAccount)
		o.Key = r.String(MaxKey)
		o.Type = Usage
		o.Amount = Money(r.Int())
	}
}

// Result is the result of one operation.
type Result struct {
	Err      error // nil, or one of the package's errors
	Replayed bool  // OpEntry: an entry with this key was applied before
	Entry    Entry // OpEntry
	Account  Account
	Revision uint64 // OpPolicy: revision in force afterwards
	sum      uint64 // hash of further effects for the running hash: staged blocks, tokens, the audit; not encoded
}

// Entry is an applied entry of the ledger.
type Entry struct {
	Key    string
	Type   EntryType
	Amount Money
	Index  uint64 // log index of the entry
}

// EncodeResults encodes results that the leader returns to the forwarding node, in the
// form of the version of commands in force.
func EncodeResults(results []Result, v uint64) ([]byte, error) {
	w := codec.NewWriter()
	writeVersion(w, v)
	w.Array(len(results))
	for i := range results {
		res := &results[i]
		w.Array(8)
		w.Uint(uint64(outcomeOf(res.Err)))
		w.Bool(res.Replayed)
		w.String(res.Entry.Key)
		w.Uint(uint64(res.Entry.Type))
		res.Entry.Amount.encode(w, v)
		w.Uint(res.Entry.Index)
		res.Account.encode(w, v)
		w.Uint(res.Revision)
	}
	return w.Finish()
}

// DecodeResults decodes the result of EncodeResults.
func DecodeResults(b []byte) ([]Result, error) {
	r, v := readVersion(b)
	results := make([]Result, r.ArrayUpTo(MaxOps))
	for i := range results {
		res := &results[i]
		r.Array(8)
		res.Err = outcomes[r.Below(len(outcomes))]
		res.Replayed = r.Bool()
		res.Entry.Key = r.String(MaxKey)
		res.Entry.Type = decodeEntryType(r, v)
		res.Entry.Amount, _ = moneyIn(r.Int(), v)
		res.Entry.Index = r.Uint()
		res.Account.decode(r, v)
		res.Revision = r.Uint()
	}
	return results, r.End()
}

func outcomeOf(err error) int {
	for i, known := range outcomes {
		if err == nil && known == nil || known != nil && errors.Is(err, known) {
			return i
		}
	}
	return outcomeOf(ErrUnknownCommand)
}

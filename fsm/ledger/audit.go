package ledger

import (
	"strconv"

	"github.com/cespare/xxhash/v2"

	"quorate/limiter/codec"
)

// Bounds of the audit.
const (
	MaxAudit       = 10_000 // records that are kept
	MaxActor       = MaxTokenName
	MaxAuditAction = 32  // bytes
	MaxAuditTarget = 128 // bytes
	MaxAuditDetail = 128 // bytes
)

// Who is named where no token was. The parentheses are in no token's name.
const (
	ActorOpen    = "(open)"    // anybody, while no token is asked for
	ActorNode    = "(node)"    // whoever has the admin token of the node that was asked
	ActorCluster = "(cluster)" // the cluster by itself
)

// AuditRecord is one change of policy, overrides, tokens or membership.
type AuditRecord struct {
	ID     uint64 // from 1, without gaps
	Index  uint64 // of the log
	Time   int64  // milliseconds since 1970, of the log
	By     string // a token's name, or one of the actors
	Action string
	Target string
	Detail string
}

// Note is a change that is none of the state machine, such as one of
// membership, for the audit.
type Note struct {
	Action string // at most MaxAuditAction bytes, as noun.verb
	Target string // at most MaxAuditTarget
	Detail string // at most MaxAuditDetail
}

// The actions of an audit that the state machine knows by itself.
const (
	auditPolicy    = "policy.replace"
	auditOverrides = "overrides.replace"
	auditDelete    = "account.delete"
	auditToken     = "token.create"
	auditRevoke    = "token.revoke"
	auditRemove    = "node.remove"
	auditRestore   = "backup.restore"
)

// audited says what an operation that was applied is in the audit; ok is false
// for one that is not in it.
func (o *Op) audited(res *Result) (action, target, detail string, ok bool) {
	switch o.Kind {
	case OpPolicy:
		return auditPolicy, "", "revision " + strconv.FormatUint(res.Revision, 10), true
	case OpPatch:
		if o.Patch.Overrides == nil {
			return "", "", "", false
		}
		return auditOverrides, o.Account, strconv.Itoa(len(o.Patch.Overrides.List)) + " overrides", true
	case OpDelete:
		// The overrides went with it.
		return auditDelete, o.Account, "", res.Account.Overrides != nil
	case OpToken:
		return auditToken, o.Token.Name, o.Token.Scopes.String(), true
	case OpRevoke:
		return auditRevoke, o.Token.Name, "", true
	case OpRemove:
		return auditRemove, o.Node, "", true
	case OpRestore:
		// A repetition has replaced nothing.
		return auditRestore, "", "", o.Restore.Kind == RestoreCommit && res.sum != 0
	case OpNote:
		return o.Note.Action, o.Note.Target, o.Note.Detail, true
	}
	return "", "", "", false
}

// auditLocked records an operation that was applied.
func (s *State) auditLocked(index uint64, o *Op, res *Result) {
	action, target, detail, ok := o.audited(res)
	if !ok || res.Err != nil {
		return
	}
	by := o.By
	if by == "" {
		by = ActorOpen
	}
	r := AuditRecord{Index: index, Time: s.now, By: by, Action: action, Target: target, Detail: detail}
	s.audit.add(&r)
	sum := r.sum()
	if o.Kind == OpToken {
		sum ^= xxhash.Sum64(o.Token.Hash[:]) << 1
	}
	res.sum ^= sum
}

// sum is odd.
func (r *AuditRecord) sum() uint64 {
	b := strconv.AppendUint(nil, r.ID, 10)
	for _, s := range []string{r.By, r.Action, r.Target, r.Detail} {
		b = append(append(b, 0), s...)
	}
	return xxhash.Sum64(b) | 1
}

// auditLog keeps the last records. What is in the slice never changes: a copy
// of the header is a copy of the log.
type auditLog struct {
	records []AuditRecord // the oldest first, at most 2 * MaxAudit
	last    uint64        // id of the newest
}

// add adds a record, and numbers one that has no number.
func (a *auditLog) add(r *AuditRecord) {
	if r.ID == 0 {
		r.ID = a.last + 1
	}
	a.last = r.ID
	if len(a.records) >= 2*MaxAudit {
		a.records = append(make([]AuditRecord, 0, 2*MaxAudit), a.kept()[1:]...)
	}
	a.records = append(a.records, *r)
}

// kept returns the records that count, the oldest first.
func (a *auditLog) kept() []AuditRecord { return a.records[max(0, len(a.records)-MaxAudit):] }

// Audit returns at most limit records, the newest first, of those before an id;
// 0 is from the newest. more tells whether there are older ones.
func (s *State) Audit(before uint64, limit int) (list []AuditRecord, more bool) {
	s.mu.RLock()
	kept := s.audit.kept()
	s.mu.RUnlock()
	for i := len(kept) - 1; i >= 0; i-- {
		if before != 0 && kept[i].ID >= before {
			continue
		}
		if len(list) == limit {
			return list, true
		}
		list = append(list, kept[i])
	}
	return list, false
}

func (r *AuditRecord) encode(w *codec.Writer) {
	w.Array(7)
	w.Uint(r.ID)
	w.Uint(r.Index)
	w.Int(r.Time)
	for _, s := range []string{r.By, r.Action, r.Target, r.Detail} {
		w.String(s)
	}
}

func (r *AuditRecord) decode(in *codec.Reader) {
	in.Array(7)
	r.ID, r.Index, r.Time = in.Uint(), in.Uint(), in.Int()
	r.By, r.Action = in.String(MaxActor), in.String(MaxAuditAction)
	r.Target, r.Detail = in.String(MaxAuditTarget), in.String(MaxAuditDetail)
}

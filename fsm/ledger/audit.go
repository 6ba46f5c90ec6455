package ledger

import (
	"strconv"

	"github.com/cespare/xxhash/v2"

	"quorate/limiter/codec"
)

// The limits of the audit.
const (
	MaxAudit       = 10_000 // records
	MaxActor       = MaxTokenName
	MaxAuditAction = 32  // bytes
	MaxAuditTarget = 128 // bytes
	MaxAuditDetail = 128 // bytes
)

// The names of callers without a replicated token. Names of tokens cannot contain
// parentheses.
const (
	ActorOpen    = "(open)"    // any caller, while the cluster requires no token
	ActorNode    = "(node)"    // a caller with the node's own admin token
	ActorCluster = "(cluster)" // the cluster itself
)

// AuditRecord is one change of policy, overrides, tokens or membership.
type AuditRecord struct {
	ID     uint64 // from 1, without gaps
	Index  uint64 // log index
	Time   int64  // the log's time in milliseconds since 1970
	By     string // name of a token, or an Actor constant
	Action string
	Target string
	Detail string
}

// Note is an audit record of a change outside the state machine, such as a change of
// membership.
type Note struct {
	Action string // at most MaxAuditAction bytes, as noun.verb
	Target string // at most MaxAuditTarget
	Detail string // at most MaxAuditDetail
}

// The actions that the state machine records itself.
const (
	auditPolicy    = "policy.replace"
	auditOverrides = "overrides.replace"
	auditDelete    = "account.delete"
	auditToken     = "token.create"
	auditRevoke    = "token.revoke"
	auditRemove    = "node.remove"
	auditRestore   = "backup.restore"
	auditSetting   = "setting.change"
)

// audited returns the audit record of an applied operation; ok is false if the operation
// is not audited.
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
		// Deleting the account deleted its overrides.
		return auditDelete, o.Account, "", res.Account.Overrides != nil
	case OpToken:
		return auditToken, o.Token.Name, o.Token.Scopes.String(), true
	case OpRevoke:
		return auditRevoke, o.Token.Name, "", true
	case OpRemove:
		return auditRemove, o.Node, "", true
	case OpRestore:
		// A repeated commit has replaced nothing.
		return auditRestore, "", "", o.Restore.Kind == RestoreCommit && res.sum != 0
	case OpSetting:
		return auditSetting, "", o.Setting.String(), true
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

// sum returns a hash of the record. It is odd, so never 0.
func (r *AuditRecord) sum() uint64 {
	b := strconv.AppendUint(nil, r.ID, 10)
	for _, s := range []string{r.By, r.Action, r.Target, r.Detail} {
		b = append(append(b, 0), s...)
	}
	return xxhash.Sum64(b) | 1
}

// auditLog keeps the last MaxAudit records. The elements of the slice are immutable, so a
// copy of the slice header is a copy of the log.
type auditLog struct {
	records []AuditRecord // oldest first, at most 2 * MaxAudit
	last    uint64        // id of the newest record
}

// add appends a record. If the record has no id, add sets it.
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

// kept returns the last MaxAudit records, oldest first.
func (a *auditLog) kept() []AuditRecord { return a.records[max(0, len(a.records)-MaxAudit):] }

// Audit returns at most limit records with ids below before, newest first; before 0 means
// from the newest. more reports whether there are older records.
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

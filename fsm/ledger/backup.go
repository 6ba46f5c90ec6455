package ledger

import (
	"errors"
	"fmt"
	"io"

	"quorate/limiter/codec"
)

// MaxBackup is the maximum size of a backup in bytes.
const MaxBackup = 4 << 30

// The sections that only backups have.
const (
	secHeader section = 30
	secTotals section = 31
)

// Backup describes a backup.
type Backup struct {
	Index     uint64 // log index: the backup contains all entries up to it and none after it
	Time      int64  // the log's time at Index, in milliseconds since 1970
	ClusterID string // of the cluster that made the backup
	Revision  uint64 // of the policy
	Accounts  uint64
	Keys      uint64 // idempotency keys
	// Content is a hash of the content. Clusters with the same accounts, policy,
	// tokens and keys have the same hash, whatever their indices and their versions of
	// commands.
	Content string
}

// WriteBackup writes a backup: a header, blocks, totals and a checksum.
func (f *Frozen) WriteBackup(to io.Writer) (Backup, error) {
	info := Backup{
		Index: f.Index, Time: f.now, ClusterID: f.clusterID, Revision: f.table.Revision,
		Accounts: uint64(f.accounts.len()), Keys: uint64(f.keys.len()),
	}
	out, err := newFileWriter(to, backupMagic)
	if err != nil {
		return info, err
	}
	content := newDigest()
	b := newBlocks(func(block []byte) error {
		if err := content.block(block); err != nil {
			return err
		}
		return out.block(block)
	})
	b.record(secHeader, func(w *codec.Writer) {
		w.Array(4)
		w.Uint(info.Index)
		w.Int(info.Time)
		w.String(info.ClusterID)
		w.Uint(info.Revision)
	})
	f.data(b, f.version)
	if err := b.flush(); err != nil {
		return info, err
	}
	info.Content = content.sum()
	b.record(secTotals, func(w *codec.Writer) {
		w.Array(3)
		w.Uint(info.Accounts)
		w.Uint(info.Keys)
		w.String(info.Content)
	})
	if err := b.flush(); err != nil {
		return info, err
	}
	return info, out.end(to)
}

// ReadBackup reads and verifies a backup, and calls each, unless nil, for every block that
// a restore needs. A block is valid until each returns. The backup is complete only if
// ReadBackup returns nil. The error wraps ErrBadBackup, unless each returned it.
func ReadBackup(from io.Reader, each func(block []byte) error) (Backup, error) {
	v := &verifier{content: newDigest()}
	var failed error
	err := readFile(from, backupMagic, func(block []byte) error {
		if v.totals {
			return errors.New("blocks after the totals")
		}
		if err := v.content.block(block); err != nil {
			return err
		}
		if err := readBlock(block, v.record); err != nil {
			return err
		}
		if s := section(block[0]); s == secHeader || s == secTotals || each == nil {
			return nil
		}
		failed = each(block)
		return failed
	})
	if err == nil {
		err = v.complete()
	}
	if err != nil && failed == nil {
		err = fmt.Errorf("%w: %w", ErrBadBackup, err)
	}
	return v.found, err
}

// verifier compares a backup with its header and totals.
type verifier struct {
	found          Backup
	accounts, keys uint64
	tokens         uint64
	header, policy bool
	totals         bool
	content        digest
}

func (v *verifier) record(of section, r *codec.Reader) error {
	if !v.header && of != secHeader {
		return errors.New("no header")
	}
	switch of {
	case secHeader:
		r.Array(4)
		v.found.Index, v.found.Time, v.found.ClusterID, v.found.Revision = r.Uint(), r.Int(), r.String(MaxNodeID), r.Uint()
		if v.header {
			return errors.New("two headers")
		}
		v.header = true
	case secTotals:
		r.Array(3)
		v.found.Accounts, v.found.Keys, v.found.Content = r.Uint(), r.Uint(), r.String(16)
		v.totals = true
	case secTime:
		r.Array(2)
		r.Int()
		r.Int()
	case secPolicy:
		r.Array(2)
		revision, doc := r.Uint(), r.Bytes(MaxPolicy)
		if r.Err() != nil {
			return r.Err()
		}
		if _, err := Compile(revision, doc); err != nil || v.policy {
			return errors.New("want exactly one policy, a valid one")
		}
		v.policy = true
	case secAccounts, secNanoAccounts:
		var a Account
		if a.decode(r, of.since()); r.Err() == nil && !a.valid() {
			return fmt.Errorf("account %q has impossible values", a.ID)
		}
		v.accounts++
	case secKeys, secNanoKeys:
		var k keyRecord
		k.decode(r, of.since())
		v.keys++
	case secSettleTime:
		r.Array(1)
		r.Int()
	case secSettleKeys:
		var k keyRecord
		k.decode(r, of.since())
	case secTokens:
		var k Token
		if k.decode(r); r.Err() == nil && (!ValidTokenName(k.Name) || k.Scopes == 0) {
			return fmt.Errorf("token %q has an invalid name or no scopes", k.Name)
		}
		v.tokens++
	default:
		return errors.New("it was written by a newer program")
	}
	return r.Err()
}

// valid reports whether the values of the account are possible.
func (a *Account) valid() bool {
	return ValidAccount(a.ID) && a.Lifetime >= 0 && a.Free >= 0 && a.Purchased >= 0 && a.OpenBill >= 0 && a.UsageLimit >= NoUsageLimit
}

// complete returns an error if the backup is incomplete or contradicts its totals.
func (v *verifier) complete() error {
	switch {
	case !v.header || !v.policy || !v.totals:
		return errors.New("the header, the policy or the totals are missing")
	case v.accounts != v.found.Accounts || v.keys != v.found.Keys || v.keys > 2*MaxKeyMemoryEntries:
		return fmt.Errorf("%d accounts and %d keys, but its totals are %d and %d", v.accounts, v.keys, v.found.Accounts, v.found.Keys)
	case v.tokens > MaxTokens:
		return fmt.Errorf("%d tokens, at most %d", v.tokens, MaxTokens)
	case v.content.sum() != v.found.Content:
		return errors.New("the hash of its content differs from the one in its totals")
	}
	return nil
}

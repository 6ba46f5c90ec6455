package wire

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"quorate/fsm/ledger"
)

// EntryRequest is the body of POST /v1/accounts/{id}/ledger, without Account, and
// an item of POST /v1/ledger, with it.
type EntryRequest struct {
	Account string `json:"account,omitempty"`
	Key     string `json:"key"`
	Type    string `json:"type"`
	Amount  string `json:"amount"`

	IssuedAt string `json:"issued_at,omitempty"` // RFC 3339
}

// ParseEntry reads the scanner's whole document as an entry of the given account.
// The strings of the operation are clones. The error is a *FieldError.
func ParseEntry(s *Scanner, account string) (ledger.Op, error) {
	return parseEntry(s, ledger.Op{Kind: ledger.OpEntry, Account: account}, false)
}

// ParseItem is ParseEntry for an entry that contains its account.
func ParseItem(s *Scanner) (ledger.Op, error) {
	return parseEntry(s, ledger.Op{Kind: ledger.OpEntry}, true)
}

const (
	fieldKey = iota
	fieldType
	fieldAmount
	fieldAccount
	fieldIssued
)

func parseEntry(s *Scanner, op ledger.Op, item bool) (ledger.Op, error) {
	var seen, given Fields
	for s.Object(); ; {
		name, ok := s.Key()
		if !ok {
			break
		}
		if name == "account" && !item {
			s.Unknown(name)
		}
		entryField(s, &seen, &given, name, &op)
	}
	s.End()
	required := []string{fieldKey: "key", fieldType: "type", fieldAmount: "amount"}
	if item {
		required = append(required, "account")
	}
	for bit, name := range required {
		if given&(1<<bit) == 0 {
			s.failField(name, "required")
		}
	}
	return op, s.err
}

func entryField(s *Scanner, seen, given *Fields, name string, op *ledger.Op) {
	read := func(bit uint, name string) bool {
		if !s.Field(seen, bit, name) {
			return false
		}
		*given |= 1 << bit
		return true
	}
	switch name {
	case "account":
		if read(fieldAccount, "account") {
			if op.Account = strings.Clone(s.Text()); !ledger.ValidAccount(op.Account) {
				s.Fail(BadAccount)
			}
		}
	case "key":
		if read(fieldKey, "key") {
			if op.Key = strings.Clone(s.Text()); !ledger.ValidKey(op.Key) {
				s.Fail("want 1 to 128 printable ASCII characters")
			}
		}
	case "type":
		if read(fieldType, "type") {
			op.Type = entryType(s)
		}
	case "amount":
		if read(fieldAmount, "amount") {
			if op.Amount = s.Money(); op.Amount == 0 {
				s.Fail("want more than 0")
			}
		}
	case "issued_at":
		if read(fieldIssued, "issued_at") {
			op.Issued = s.Time()
		}
	default:
		s.Unknown(name)
	}
}

func entryType(s *Scanner) ledger.EntryType {
	t, ok := ledger.ParseEntryType(s.Text())
	if !ok {
		s.Fail("want purchase, free_credit, usage, payment, refund, chargeback or usage_reversal")
	}
	return t
}

// Time reads an RFC 3339 time as milliseconds since 1970. It returns 1 for earlier
// times, because 0 means that no time was given.
func (s *Scanner) Time() int64 {
	t, err := time.Parse(time.RFC3339, s.Text())
	if err != nil {
		s.Fail("want a time in RFC 3339, such as 2026-01-31T12:00:00Z")
		return 0
	}
	return max(1, t.UnixMilli())
}

// ParseItems reads a document whose only member is the named list, of 1 to MaxBulk
// items, and returns the bytes of each item. They point into the document. The
// error is a *FieldError.
func ParseItems(s *Scanner, list string) ([][]byte, error) {
	var seen Fields
	var items [][]byte
	for s.Object(); ; {
		name, ok := s.Key()
		if !ok {
			break
		}
		if name != list {
			s.Unknown(name)
			continue
		}
		if !s.Field(&seen, 0, list) {
			continue
		}
		for s.Array(); s.Item(); {
			if len(items) == MaxBulk {
				s.failField(list, fmt.Sprintf("want 1 to %d", MaxBulk))
				break
			}
			items = append(items, s.Skip())
		}
	}
	s.End()
	if len(items) == 0 {
		s.failField(list, fmt.Sprintf("want 1 to %d", MaxBulk))
	}
	return items, s.err
}

// AppendEntryResult appends the result of an entry that was applied or replayed,
// without the braces.
func AppendEntryResult(dst []byte, r *ledger.Result, t *ledger.Table) []byte {
	dst = append(dst, `"replayed":`...)
	dst = appendBool(dst, r.Replayed)
	dst = append(dst, `,"entry":`...)
	dst = AppendEntry(dst, r.Entry)
	dst = append(dst, `,"account":`...)
	return AppendAccount(dst, &r.Account, t)
}

// AppendEntry appends an entry of the ledger as a JSON object.
func AppendEntry(dst []byte, e ledger.Entry) []byte {
	dst = append(dst, `{"key":`...)
	dst = AppendString(dst, e.Key)
	dst = append(dst, `,"type":"`...)
	dst = append(dst, e.Type.String()...)
	dst = append(dst, `","amount":`...)
	dst = appendMoney(dst, e.Amount)
	dst = append(dst, `,"index":`...)
	return append(strconv.AppendUint(dst, e.Index, 10), '}')
}

// EntryResponse is the answer to an entry that was applied or replayed.
type EntryResponse struct {
	Replayed bool            `json:"replayed"`
	Entry    Entry           `json:"entry"`
	Account  AccountResponse `json:"account"`

	Raw json.RawMessage `json:"-"` // the body as received
}

// Entry is an entry of the ledger.
type Entry struct {
	Key    string `json:"key"`
	Type   string `json:"type"`
	Amount string `json:"amount"`
	Index  uint64 `json:"index"`
}

package wire

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"quorate/fsm/ledger"
)

// EntryRequest is the body of POST /v1/accounts/{id}/ledger, and with its
// account an item of POST /v1/ledger.
type EntryRequest struct {
	Account string `json:"account,omitempty"`
	Key     string `json:"key"`
	Type    string `json:"type"`
	Amount  string `json:"amount"`
}

// ParseEntry reads the whole document of the scanner as an entry of the given
// account. Its strings are the operation's own. Its error is a *FieldError.
func ParseEntry(s *Scanner, account string) (ledger.Op, error) {
	return parseEntry(s, ledger.Op{Kind: ledger.OpEntry, Account: account}, false)
}

// ParseItem reads the whole document as an entry that names its account.
func ParseItem(s *Scanner) (ledger.Op, error) {
	return parseEntry(s, ledger.Op{Kind: ledger.OpEntry}, true)
}

const (
	fieldKey = iota
	fieldType
	fieldAmount
	fieldAccount
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
	default:
		s.Unknown(name)
	}
}

func entryType(s *Scanner) ledger.EntryType {
	t, ok := ledger.ParseEntryType(s.Text())
	if !ok {
		s.Fail("want purchase, free_credit, usage, payment or refund")
	}
	return t
}

// ParseBulk reads the body of POST /v1/ledger into the bytes of its items,
// views of the document, 1 to MaxBulk.
func ParseBulk(s *Scanner) ([][]byte, error) {
	var seen Fields
	var items [][]byte
	for s.Object(); ; {
		name, ok := s.Key()
		if !ok {
			break
		}
		if name != "entries" {
			s.Unknown(name)
			continue
		}
		if !s.Field(&seen, 0, "entries") {
			continue
		}
		for s.Array(); s.Item(); {
			if len(items) == MaxBulk {
				s.failField("entries", fmt.Sprintf("want 1 to %d", MaxBulk))
				break
			}
			items = append(items, s.Skip())
		}
	}
	s.End()
	if len(items) == 0 {
		s.failField("entries", fmt.Sprintf("want 1 to %d", MaxBulk))
	}
	return items, s.err
}

// AppendEntryResult appends the members, without the braces, of an entry that
// was applied or replayed.
func AppendEntryResult(dst []byte, r *ledger.Result, t *ledger.Table) []byte {
	dst = append(dst, `"replayed":`...)
	dst = appendBool(dst, r.Replayed)
	dst = append(dst, `,"entry":{"key":`...)
	dst = AppendString(dst, r.Entry.Key)
	dst = append(dst, `,"type":"`...)
	dst = append(dst, r.Entry.Type.String()...)
	dst = append(dst, `","amount":`...)
	dst = appendMoney(dst, r.Entry.Amount)
	dst = append(dst, `,"index":`...)
	dst = strconv.AppendUint(dst, r.Entry.Index, 10)
	dst = append(dst, `},"account":`...)
	return AppendAccount(dst, &r.Account, t)
}

// EntryResponse is an applied or replayed entry as a client reads it.
type EntryResponse struct {
	Replayed bool            `json:"replayed"`
	Entry    Entry           `json:"entry"`
	Account  AccountResponse `json:"account"`

	Raw json.RawMessage `json:"-"` // the body as it came
}

// Entry is an entry of the ledger.
type Entry struct {
	Key    string `json:"key"`
	Type   string `json:"type"`
	Amount string `json:"amount"`
	Index  uint64 `json:"index"`
}

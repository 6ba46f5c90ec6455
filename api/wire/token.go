package wire

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"quorate/fsm/ledger"
)

// TokenRequest is the body of POST /v1/tokens as a client writes it.
type TokenRequest struct {
	Name   string   `json:"name"`
	Scopes []string `json:"scopes"`
}

// Token is a token without its hash. Secret is set only in the answer to the request
// that created the token.
type Token struct {
	Name    string   `json:"name"`
	Scopes  []string `json:"scopes"`
	Secret  string   `json:"secret,omitempty"`
	Created *string  `json:"created_at,omitempty"` // RFC 3339

	Raw json.RawMessage `json:"-"` // the body as received
}

// Tokens is the body of GET /v1/tokens.
type Tokens struct {
	Tokens []Token `json:"tokens"`

	Raw json.RawMessage `json:"-"` // the body as received
}

// AuditRecord is one line of the audit.
type AuditRecord struct {
	ID     uint64 `json:"id"`
	Index  uint64 `json:"index"` // log index
	Time   string `json:"time"`  // RFC 3339, the log's time
	By     string `json:"by"`    // name of a token, (node), (open) or (cluster)
	Action string `json:"action"`
	Target string `json:"target"`
	Detail string `json:"detail"`
}

// Audit is the body of GET /v1/audit, newest record first.
type Audit struct {
	Entries    []AuditRecord `json:"entries"`
	NextCursor *string       `json:"next_cursor"`

	Raw json.RawMessage `json:"-"` // the body as received
}

// BadTokenName is the detail of the error about an invalid name of a token.
var BadTokenName = "want 1 to " + strconv.Itoa(ledger.MaxTokenName) + " bytes of A-Z a-z 0-9 . _ : @ -, the first a letter or digit"

// ParseToken reads the scanner's whole document. The name is a clone. The error is a
// *FieldError.
func ParseToken(s *Scanner) (name string, scopes ledger.Scopes, err error) {
	var seen Fields
	for s.Object(); ; {
		field, ok := s.Key()
		if !ok {
			break
		}
		switch field {
		case "name":
			if s.Field(&seen, 0, "name") {
				name = strings.Clone(s.Text())
			}
		case "scopes":
			if s.Field(&seen, 1, "scopes") {
				for s.Array(); s.Item(); {
					one, known := ledger.ParseScope(s.Text())
					if !known || scopes&one != 0 {
						s.failField("scopes", "want each of check, ledger, read, admin at most once")
					}
					scopes |= one
				}
			}
		default:
			s.Unknown(field)
		}
	}
	s.End()
	switch {
	case s.err != nil:
	case !ledger.ValidTokenName(name):
		s.failField("name", BadTokenName)
	case scopes == 0:
		s.failField("scopes", "want at least one of check, ledger, read, admin")
	}
	return name, scopes, s.err
}

// TokenOf converts a token to the form of the API.
func TokenOf(t *ledger.Token) Token {
	at := FormatMillis(t.Created)
	return Token{Name: t.Name, Scopes: t.Scopes.Names(), Created: &at}
}

// AuditOf converts an audit record to the form of the API.
func AuditOf(r *ledger.AuditRecord) AuditRecord {
	return AuditRecord{ID: r.ID, Index: r.Index, Time: FormatMillis(r.Time), By: r.By, Action: r.Action, Target: r.Target, Detail: r.Detail}
}

// FormatMillis formats milliseconds since 1970 as RFC 3339.
func FormatMillis(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339Nano) }

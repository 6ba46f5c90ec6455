package node

import (
	"log/slog"

	"quorate/api/auth"
)

// Secret is text that must not be shown.
type Secret string

// hidden is what a secret looks like wherever it is printed.
const hidden = "[secret]"

// String, GoString, LogValue and MarshalText hide the secret.
func (Secret) String() string { return hidden }

// GoString is fmt.GoStringer.
func (Secret) GoString() string { return hidden }

// LogValue is slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText is encoding.TextMarshaler.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// NewAdminToken returns a token for Config.AdminTokenFile.
func NewAdminToken() string { return auth.NewSecret() }

package node

import (
	"log/slog"

	"quorate/api/auth"
)

// Secret is text that must not be printed or logged.
type Secret string

// hidden is printed in place of a secret.
const hidden = "[secret]"

// String, GoString, LogValue and MarshalText hide the secret.
func (Secret) String() string { return hidden }

// GoString implements fmt.GoStringer.
func (Secret) GoString() string { return hidden }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText implements encoding.TextMarshaler.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// NewAdminToken returns a token for Config.AdminTokenFile.
func NewAdminToken() string { return auth.NewSecret() }

package node

import "log/slog"

// Secret is text that must not be shown.
type Secret string

// hidden is what a secret looks like wherever it is printed.
const hidden = "[secret]"

// String, GoString and LogValue hide the secret.
func (Secret) String() string { return hidden }

// GoString is fmt.GoStringer.
func (Secret) GoString() string { return hidden }

// LogValue is slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

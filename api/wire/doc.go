// Package wire is what goes over the HTTP API: names of headers, shapes of
// requests and answers, and the strict reading and quick writing of their JSON.
//
// Requests are read by one small Scanner that knows nothing of reflection:
// names are case-sensitive and may not repeat, integers are integers, nothing
// may follow the document. Answers are appended to a buffer that the caller
// owns.
package wire

// The headers of the API, as they are written in answers.
const (
	HeaderIndex           = "X-Quorate-Index"
	HeaderMinIndex        = "X-Quorate-Min-Index"
	HeaderToken           = "X-Quorate-Token"
	HeaderRateLimit       = "RateLimit"
	HeaderRateLimitPolicy = "RateLimit-Policy"
	HeaderRetryAfter      = "Retry-After"
	HeaderRetryAfterMS    = "retry-after-ms"
	HeaderShouldRetry     = "x-should-retry"
)

// The headers by which a gateway asks for a decision, and those of its answer.
const (
	HeaderAccount     = "X-Quorate-Account"
	HeaderModel       = "X-Quorate-Model"
	HeaderCategory    = "X-Quorate-Category"
	HeaderRequests    = "X-Quorate-Requests"
	HeaderTokens      = "X-Quorate-Tokens"
	HeaderReserve     = "X-Quorate-Reserve"
	HeaderReason      = "X-Quorate-Reason"
	HeaderStatus      = "X-Quorate-Status"
	HeaderReservation = "X-Quorate-Reservation"
)

// The content types of the API.
const (
	TypeJSON    = "application/json"
	TypeProblem = "application/problem+json"
	TypeYAML    = "application/yaml"
	TypeBackup  = "application/octet-stream"
	TypeText    = "text/plain; charset=utf-8"
	TypeMetrics = "text/plain; version=0.0.4; charset=utf-8"
)

// MaxBody is the largest body of a request, in bytes; MaxBulk the most entries
// of one bulk request.
const (
	MaxBody = 1 << 20
	MaxBulk = 1000
)

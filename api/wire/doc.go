// Package wire defines the format of the HTTP API: header names, the shapes of
// requests and answers, a strict JSON scanner and fast JSON writers. The body of a denial
// is in decision.go, that of an error in problem.go.
//
// The Scanner reads requests without reflection. It is stricter than
// encoding/json: names are case-sensitive and must not repeat, integers have no
// fraction or exponent, and only white space may follow the document. The
// writers append to a buffer that the caller owns.
package wire

// The headers of the API, in the spelling of its answers.
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

// The headers in which a gateway sends a check, and those of the answer.
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

// MaxBody is the maximum size of a request's body in bytes. MaxBulk is the maximum
// number of items in one bulk request.
const (
	MaxBody = 1 << 20
	MaxBulk = 1000
)

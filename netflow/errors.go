package netflow

import "errors"

// What a caller may want to tell apart with errors.Is.
var (
	// ErrVersion: the datagram does not begin with 5, 9 or 10.
	ErrVersion = errors.New("not NetFlow v5, v9 or IPFIX")
	// ErrNoTemplate: a Data Set came whose template is not known (yet).
	ErrNoTemplate = errors.New("template not known")
	// ErrMalformed: octets that contradict the specification.
	ErrMalformed = errors.New("malformed")
	// ErrLimit: one of Limits was reached.
	ErrLimit = errors.New("limit reached")
)

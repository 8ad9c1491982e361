package netflow

import (
	"errors"
	"strconv"
)

// What a caller may want to tell apart with errors.Is.
var (
	// ErrVersion: the datagram does not begin with 1, 5, 7, 9 or 10.
	ErrVersion = errors.New("not NetFlow v1, v5, v7, v9 or IPFIX")
	// ErrNoTemplate: a Data Set came whose template is not known (yet).
	ErrNoTemplate = errors.New("template not known")
	// ErrMalformed: octets that contradict the specification.
	ErrMalformed = errors.New("malformed")
	// ErrLimit: one of Limits was reached.
	ErrLimit = errors.New("limit reached")
)

// DecodeError says where in a message something was skipped, and why. Err wraps
// one of the sentinels above.
type DecodeError struct {
	Version Version
	Domain  uint32
	// Set is the identifier of the Set, 0 when the fault lies outside one.
	Set uint16
	// Offset is the octet in the datagram.
	Offset int
	Err    error
}

// Error returns the place as a path, and the cause.
func (e *DecodeError) Error() string {
	s := "netflow: " + e.Version.String() + ": domain " + strconv.FormatUint(uint64(e.Domain), 10)
	if e.Set != 0 || e.Version == V9 {
		s += ": set " + strconv.Itoa(int(e.Set))
	}
	return s + ": octet " + strconv.Itoa(e.Offset) + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *DecodeError) Unwrap() error { return e.Err }

// reason is a cause in words that is also one of the sentinels.
type reason struct {
	text string
	kind error
}

func (r *reason) Error() string { return r.text }
func (r *reason) Unwrap() error { return r.kind }

// The causes. They are values, so that a flood of bad datagrams does not pay
// for words nobody reads.
var (
	errShortHeader    = &reason{"the message ends inside its header", ErrMalformed}
	errLength         = &reason{"the header's length is not that of the datagram", ErrMalformed}
	errCount          = &reason{"the header counts more records than the datagram holds", ErrMalformed}
	errSetLength      = &reason{"a set is shorter than its own header", ErrMalformed}
	errSetOverrun     = &reason{"a set reaches past the end of the message", ErrMalformed}
	errSetReserved    = &reason{"a set has a reserved identifier", ErrMalformed}
	errTemplateCut    = &reason{"a template reaches past the end of its set", ErrMalformed}
	errTemplateID     = &reason{"a template has an identifier below 256", ErrMalformed}
	errTemplateEmpty  = &reason{"a template describes zero octets", ErrMalformed}
	errTemplateLong   = &reason{"a template describes more octets than a message holds", ErrMalformed}
	errScope          = &reason{"an options template has no valid scope", ErrMalformed}
	errRecordShort    = &reason{"a data set holds less than one record", ErrMalformed}
	errRecordCut      = &reason{"a field reaches past the end of its set", ErrMalformed}
	errNoTemplate     = &reason{"template not known", ErrNoTemplate}
	errTemplateFields = &reason{"a template has more fields than the limit", ErrLimit}
	errTemplateRoom   = &reason{"a template is larger than all the room there is for templates", ErrLimit}
	errRecordLimit    = &reason{"the message has more records than the limit", ErrLimit}
	errDomains        = &reason{"the exporter has more observation domains than the limit", ErrLimit}
)

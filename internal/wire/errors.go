package wire

// errors.go holds what can be wrong with bytes from the network, and the
// codes under which errors travel.

type strError string

func (e strError) Error() string { return string(e) }

const (
	// ErrTooLarge says that something is over its limit.
	ErrTooLarge strError = "wire: over the limit"
	// ErrMalformed says that the bytes are not a frame, or not a whole one.
	ErrMalformed strError = "wire: malformed frame"
	// ErrMagic says that the other end does not speak this protocol at all.
	ErrMagic strError = "wire: not a covey peer"
)

// A Code says which kind of error a Failed answer carries.
type Code uint32

const (
	CodeUnknown       Code = iota // see the text
	CodeLoad                      // the loader's error; its text is all that is left of it
	CodeOverloaded                // the origin is protected from this load
	CodeLoadTimeout               // the load took too long
	CodeRecursive                 // a loader waits for its own result
	CodeOutdated                  // the version is lower than the one seen
	CodeTooLarge                  // the value is too large
	CodeUnconfirmed               // the write could not be confirmed; Text names the peers
	CodeNoLoader                  // nobody knows how to load it
	CodeUnknownCache              // no cache of that name here
	CodeClosed                    // the cache or the group is shutting down
	CodeCancelled                 // the request was cancelled, or ran out of time
	CodeBusy                      // too many requests are in flight
	CodeVersion                   // of the handshake: no common protocol version
	CodeRefused                   // of the handshake: not the right secret
	CodeIdentity                  // of the handshake: not who was called, or oneself
	CodeMalformed                 // the request cannot be understood
	CodeSelf                      // of the handshake: the two ends are one process
	CodeNotReplicated             // the value is stored, but not where there are to be replicas
	CodeConflict                  // the condition of an Update does not hold
	CodeOverflow                  // the sum of an Update does not fit into the type
)

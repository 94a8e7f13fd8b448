package covey

// origin.go protects the source of truth: it limits the loads at once and those per second, and
// stops them while it is down.

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"
)

// An origin lets loads through, or not. Its parts are nil where they are not configured.
type origin struct {
	slots   *semaphore.Weighted
	rate    *rate.Limiter
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
	refused refusals
	changed func(BreakerState) // is told of the breaker's new state, under its lock
}

// refusals count the loads that were refused, by what refused them.
type refusals struct{ slots, rate, open atomic.Int64 }

// A BreakerState is what a [Breaker] does with loads right now.
type BreakerState uint8

const (
	// BreakerNone means that there is no breaker.
	BreakerNone BreakerState = iota
	// BreakerClosed means that loads pass.
	BreakerClosed
	// BreakerHalfOpen means that a few probes pass.
	BreakerHalfOpen
	// BreakerOpen means that no load passes.
	BreakerOpen
)

// String returns the state in one word: none, closed, half-open or open.
func (s BreakerState) String() string {
	switch s {
	case BreakerNone:
		return "none"
	case BreakerClosed:
		return "closed"
	case BreakerHalfOpen:
		return "half-open"
	case BreakerOpen:
		return "open"
	}
	return "unknown"
}

// MarshalText implements encoding.TextMarshaler: it returns what String does.
func (s BreakerState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. A state that is not known, as of a later
// version, becomes BreakerNone.
func (s *BreakerState) UnmarshalText(text []byte) error {
	*s = BreakerNone
	for one := BreakerNone; one <= BreakerOpen; one++ {
		if one.String() == string(text) {
			*s = one
		}
	}
	return nil
}

func (o *origin) state() BreakerState {
	if o.breaker == nil {
		return BreakerNone
	}
	return breakerState(o.breaker.State())
}

func breakerState(s gobreaker.State) BreakerState {
	switch s {
	case gobreaker.StateOpen:
		return BreakerOpen
	case gobreaker.StateHalfOpen:
		return BreakerHalfOpen
	}
	return BreakerClosed
}

// refuse counts a load that is refused, and returns its error.
func refuse(count *atomic.Int64, why string) error {
	count.Add(1)
	return fmt.Errorf("%w: %s", ErrOverloaded, why)
}

func newOrigin(maxLoads int, perSecond float64, burst int, b *Breaker) *origin {
	o := &origin{changed: func(BreakerState) {}}
	if maxLoads > 0 {
		o.slots = semaphore.NewWeighted(int64(maxLoads))
	}
	if perSecond > 0 {
		o.rate = rate.NewLimiter(rate.Limit(perSecond), burst)
	}
	if b != nil {
		o.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
			MaxRequests:  uint32(b.Probes),
			Interval:     b.Window,
			BucketPeriod: max(b.Window/10, time.Millisecond),
			Timeout:      b.Cooldown,
			ReadyToTrip: func(n gobreaker.Counts) bool {
				ended := n.TotalSuccesses + n.TotalFailures
				return int64(ended) >= int64(b.MinLoads) && float64(n.TotalFailures) >= b.FailureRatio*float64(ended)
			},
			IsSuccessful: func(err error) bool {
				return err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, ErrUnchanged)
			},
			OnStateChange: func(_ string, _, to gobreaker.State) { o.changed(breakerState(to)) },
			IsExcluded:    func(err error) bool { return errors.Is(err, errAbandoned) },
		})
	}
	return o
}

// errAbandoned tells the breaker that a load has ended in a way that says nothing about the origin.
var errAbandoned = errors.New("covey: load was abandoned")

// A pass lets a load run.
type pass struct {
	report  func(error) // to be called when the load has ended, with its error
	release func()      // to be called when the loader has returned, which may be later
}

// admit waits until the load l may run. A background load never waits: it runs now or is refused.
func (o *origin) admit(ctx context.Context, l *loading, background bool) (p pass, err error) {
	if o.breaker != nil && o.breaker.State() == gobreaker.StateOpen {
		return p, refuse(&o.refused.open, "the breaker is open")
	}
	p = pass{report: func(error) {}, release: func() {}}
	if o.slots != nil {
		if p.release, err = o.slot(ctx, l, background); err != nil {
			return p, err
		}
	}
	if o.rate != nil {
		if background {
			if !o.rate.Allow() {
				p.release()
				return p, refuse(&o.refused.rate, "LoadRate is reached")
			}
		} else if err := o.rate.Wait(ctx); err != nil {
			p.release()
			return p, waitError(ctx, &o.refused.rate, "LoadRate is reached")
		}
	}
	if o.breaker == nil {
		return p, nil
	}
	report, err := o.breaker.Allow()
	if err != nil {
		p.release()
		return p, refuse(&o.refused.open, "the breaker is half-open, its probes are under way")
	}
	p.report = func(err error) {
		if err != nil && ctx.Err() != nil && context.Cause(ctx) != error(ErrLoadTimeout) {
			err = errAbandoned
		}
		report(err)
	}
	return p, nil
}

// slot waits for one of MaxLoads slots. A load that a running load waits for is let in without one,
// since the loads that have the slots may be the ones that wait.
func (o *origin) slot(ctx context.Context, l *loading, background bool) (release func(), err error) {
	release = func() { o.slots.Release(1) }
	if o.slots.TryAcquire(1) {
		return release, nil
	}
	if background {
		return nil, refuse(&o.refused.slots, "MaxLoads loaders are running")
	}
	queued, letIn := context.WithCancel(ctx)
	defer letIn()
	l.whenWanted(letIn)
	if o.slots.Acquire(queued, 1) == nil {
		return release, nil
	}
	if ctx.Err() != nil {
		return nil, waitError(ctx, &o.refused.slots, "MaxLoads loaders are running")
	}
	return func() {}, nil
}

// waitError says why waiting for a turn ended: time ran out, or nobody waits any more.
func waitError(ctx context.Context, count *atomic.Int64, why string) error {
	if cause := context.Cause(ctx); cause != nil && cause != error(ErrLoadTimeout) {
		return cause
	}
	return refuse(count, why)
}

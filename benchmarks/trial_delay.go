package main

// trial_delay.go makes the way between processes longer, so that round trips can be told from what
// processes take.

import (
	"context"
	"net"
	"time"
)

// delayed is a connection whose writes arrive later.
type delayed struct {
	net.Conn
	by   time.Duration
	sent chan onItsWay
}

type onItsWay struct {
	due  time.Time
	data []byte
}

func delay(c net.Conn, by time.Duration) net.Conn {
	d := &delayed{c, by, make(chan onItsWay, 1<<12)}
	go func() {
		for w := range d.sent {
			time.Sleep(time.Until(w.due))
			if _, err := c.Write(w.data); err != nil {
				_ = c.Close() // which ends the reads, too
				for range d.sent {
				}
			}
		}
	}()
	return d
}

func (d *delayed) Write(b []byte) (int, error) {
	d.sent <- onItsWay{time.Now().Add(d.by), append([]byte(nil), b...)}
	return len(b), nil
}

// delayedListener accepts delayed connections.
type delayedListener struct {
	net.Listener
	by time.Duration
}

func (l delayedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return delay(c, l.by), nil
}

func dialDelayed(by time.Duration) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return delay(c, by), nil
	}
}

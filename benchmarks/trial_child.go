package main

// trial_child.go is a process of a trial: it does what the commands on its standard input say.

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"sync"
	"time"
)

// trialChild as the first argument makes the program such a process; the next one is its
// trialConfig.
const trialChild = "trial-child"

// A trialOrder is what a command says to a process of a trial.
type trialOrder struct {
	Rate    float64 // calls a second
	Deletes float64 // of them: deletions, each of another key
	Part    int     // of Parts, of all keys
	Parts   int     // 0 = one
	Keys    []int   // of a command for some keys
}

// trialState is what a process of a trial answers.
type trialState struct {
	KeyOwners []string      // by key
	Longest   time.Duration // of calls that were made until they did what they were to do
	Median    time.Duration // of calls that were made once
	Heap      float64       // bytes that live
}

type trialProcess struct {
	config trialConfig
	ledger *ledger
	client trialClient
	driver *driver
}

func trialChildMain(args []string, in io.Reader, out io.Writer) (err error) {
	p := &trialProcess{}
	if err := json.Unmarshal([]byte(args[0]), &p.config); err != nil {
		return err
	}
	if p.ledger, err = openLedger(p.config.Ledger); err != nil {
		return err
	}
	var first reply
	if p.client, first.URL, err = openTrialClient(p.config, p.ledger); err != nil {
		return err
	}
	p.driver = newDriver(p.client, p.ledger, p.config.Place, p.config.Keys, p.config.Writes)
	return obey(in, out, first, p.do)
}

func (p *trialProcess) do(c command) (r reply, err error) {
	o := c.Trial
	switch c.Op {
	case "join":
		err = p.client.join(c.Peers)
	case "list":
		p.client.relist(c.Peers)
	case "state":
		r.Members, r.Epoch = p.client.state()
	case "owners":
		for key := range p.config.Keys {
			r.KeyOwners = append(r.KeyOwners, p.client.owner(key))
		}
	case "rate":
		p.driver.setRate(o.Rate, o.Deletes)
	case "get": // each key of a part once
		err = p.getAll(o)
	case "write": // each key until it is confirmed
		r.Longest, err = p.writeUntilConfirmed(o.Keys)
	case "time writes":
		r.Median, err = p.time(o.Keys, func(ctx context.Context, key int) error { return p.driver.write(ctx, key) })
	case "time lookups":
		r.Median, err = p.time(o.Keys, func(ctx context.Context, key int) error { return p.driver.lookup(ctx, key, time.Now()) })
	case "ready":
		err = p.client.ready()
	case "leave":
		p.driver.setRate(0, 0)
		err = p.client.leave()
	case "heap":
		r.Heap = liveHeap()
	default:
		err = errors.New("what is " + c.Op + "?")
	}
	return r, err
}

func (p *trialProcess) getAll(o trialOrder) error {
	var keys []int
	for key := o.Part; key < p.config.Keys; key += max(1, o.Parts) {
		keys = append(keys, key)
	}
	return each(keys, func(key int) error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*trialDeadline)
		defer cancel()
		return p.driver.get(ctx, key, time.Now())
	})
}

// writeUntilConfirmed writes all keys at once and returns how long the last one took until it was.
func (p *trialProcess) writeUntilConfirmed(keys []int) (longest time.Duration, err error) {
	took, errs := make([]time.Duration, len(keys)), make([]error, len(keys))
	began := time.Now()
	var wg sync.WaitGroup
	for i, key := range keys {
		wg.Go(func() {
			for time.Since(began) < time.Minute {
				for !p.driver.writing[key].CompareAndSwap(false, true) {
					time.Sleep(time.Millisecond)
				}
				errs[i] = writeKey(context.Background(), p.client, p.ledger, key)
				p.driver.writing[key].Store(false)
				if took[i] = time.Since(began); errs[i] == nil {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	wg.Wait()
	return slices.Max(append(took, 0)), errors.Join(errs...)
}

// time makes a call for each of the keys, one after another, and returns their median. What one leaves to
// be done in the background is done before the next one begins.
func (p *trialProcess) time(keys []int, call func(context.Context, int) error) (time.Duration, error) {
	took := []time.Duration{0}
	for _, key := range keys {
		began := time.Now()
		if err := call(context.Background(), key); err != nil {
			return 0, err
		}
		took = append(took, time.Since(began))
		time.Sleep(4 * p.config.Delay)
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

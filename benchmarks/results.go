package main

// results.go is the file that -json writes: the facts of a run, and then a line for each figure,
// verdict and time line.

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// A result is what one run of a suite has found.
type result struct {
	facts
	figures  []figure
	verdicts []string
	lines    []timeLine
}

// A figure is one number. If it was measured several times, all are between Low and High.
type figure struct {
	Suite  string  `json:"suite"`
	Case   string  `json:"case"`
	System string  `json:"system"`
	Metric string  `json:"metric"`
	Value  float64 `json:"value"`
	Low    float64 `json:"low,omitempty"`
	High   float64 `json:"high,omitempty"`
	Unit   string  `json:"unit"`
}

// A timeLine is what a trial's processes and its origin have counted, step by step.
type timeLine struct {
	Suite  string      `json:"suite"`
	Case   string      `json:"case"`
	System string      `json:"system"`
	Rate   float64     `json:"rate"`    // calls a second
	FromMs int         `json:"from_ms"` // of the first step; 0 = when it happened
	StepMs int         `json:"step_ms"`
	Keys   []int64     `json:"keys"` // read
	Loads  []int64     `json:"loads"`
	Errors []int64     `json:"errors"`
	P99    []float64   `json:"p99_ms"` // of reads
	Events []happening `json:"events,omitempty"`

	text string // for the terminal
}

// A happening is something that happened.
type happening struct {
	Ms   int    `json:"ms"`
	What string `json:"what"`
}

func (r *run) result() *result {
	return &result{facts: r.facts, figures: r.figures, verdicts: r.verdicts, lines: r.lines}
}

func (r *result) writeJSON(file string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(f)
	err = enc.Encode(r.facts)
	for _, fig := range r.figures {
		err = errors.Join(err, enc.Encode(fig))
	}
	for _, v := range r.verdicts {
		err = errors.Join(err, enc.Encode(map[string]string{"verdict": v}))
	}
	for _, l := range r.lines {
		err = errors.Join(err, enc.Encode(map[string]timeLine{"time_line": l}))
	}
	return errors.Join(err, f.Close())
}

// readJSON reads what writeJSON wrote, or its ancestors, which had no facts.
func readJSON(file string) (*result, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := &result{}
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20) // a time line is long
	for s.Scan() {
		var line struct {
			facts
			figure
			Verdict  string    `json:"verdict"`
			TimeLine *timeLine `json:"time_line"`
		}
		if err := json.Unmarshal(s.Bytes(), &line); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		switch {
		case line.Args != nil:
			r.facts = line.facts
		case line.Verdict != "":
			r.verdicts = append(r.verdicts, line.Verdict)
		case line.TimeLine != nil:
			r.lines = append(r.lines, *line.TimeLine)
		default:
			r.figures = append(r.figures, line.figure)
		}
	}
	return r, s.Err()
}

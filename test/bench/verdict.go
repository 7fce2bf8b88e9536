package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/wayside-proxy/wayside/test/bench/rig"
)

const (
	pssMax         = 48 // MiB for both processes, in a load of at least steadyTime
	steadyTime     = time.Minute
	idlePercentMax = 0.3 // percent of a core for both processes
	// Over HTTP/2, the CPU time per request relative to nginx and to net/http.
	http2CPUMax     = 1.5
	http2NetHTTPMax = 0.6
	tlsExchangeMax  = 1.2 // CPU time of the traffic process per request over TLS, relative to the same exchange behind a listener of crypto/tls
	idleConnsMax    = 40  // MiB in the traffic process for 10,000 idle connections
)

// budget is a figure for wayside and its limit.
type budget struct {
	Load    string  `json:"load"`
	Figure  string  `json:"figure"`
	Value   float64 `json:"value"`
	Limit   float64 `json:"limit"`
	AtLeast bool    `json:"at_least"` // whether the limit is a minimum rather than a maximum
}

func (b budget) met() bool {
	if b.AtLeast {
		return b.Value >= b.Limit
	}
	return b.Value <= b.Limit
}

func (b budget) relation() string {
	if b.AtLeast {
		return "≥"
	}
	return "≤"
}

// judge compares wayside with the budgets of each load. Budgets relative to another contestant need both.
func (r *result) judge(o options) {
	for _, w := range o.loads {
		l := r.find("wayside", w)
		if l == nil {
			continue
		}
		add := func(figure string, value, limit float64, atLeast bool) {
			r.Budgets = append(r.Budgets, budget{w.String(), figure, value, limit, atLeast})
		}
		if o.duration >= steadyTime {
			add("PSS, MiB", l.PSSBytes/(1<<20), pssMax, false)
		}
		relativeTo := func(other string, limit float64) {
			if ratio := ratios(r.samplesOf("wayside", w.String()), r.samplesOf(other, w.String()), sample.cpu); len(ratio) > 0 {
				add("CPU, × "+other, rig.Median(ratio), limit, false)
			}
		}
		switch {
		case o.http2 != "":
			relativeTo(reference, http2CPUMax)
			relativeTo("nethttp", http2NetHTTPMax)
		case o.tls:
			if ratio := ratios(r.samplesOf("wayside", w.String()), r.samplesOf("exchange", w.String()), sample.serving); len(ratio) > 0 {
				add("CPU of the traffic process, × exchange", rig.Median(ratio), tlsExchangeMax, false)
			}
		case l.CPURatio == 0: // the reference was not measured
		case w.rate > 0:
			add("CPU, × "+reference, l.CPURatio, 1, false)
		default:
			add("CPU, × "+reference, l.CPURatio, 1.1, false)
			p99 := 1.5
			if w.connections >= 64 {
				p99 = 1
			}
			add("p99, × "+reference, l.P99Ratio, p99, false)
			add("requests/s, × "+reference, l.RateRatio, 0.95, true)
		}
	}
}

// judge compares an idle wayside with its budgets.
func (r *idleResult) judge() {
	for _, i := range r.Idle {
		if i.Contestant == "wayside" {
			r.Budgets = append(r.Budgets, budget{Load: "idle", Figure: "CPU, % of a core", Value: i.CPUPercent, Limit: idlePercentMax})
		}
	}
	for _, c := range r.Connections {
		if c.Contestant == "wayside" {
			r.Budgets = append(r.Budgets, budget{Load: "idle", Figure: "MiB for 10000 connections", Value: c.each() * 10_000 / (1 << 20), Limit: idleConnsMax})
		}
	}
}

func writeBudgets(out io.Writer, budgets []budget) error {
	if len(budgets) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nload\tbudget of wayside\tmeasured\tlimit\t")
	for _, b := range budgets {
		verdict := "met"
		if !b.met() {
			verdict = "MISSED"
		}
		fmt.Fprintf(w, "%s\t%s\t%.3f\t%s %.2f\t%s\n", b.Load, b.Figure, b.Value, b.relation(), b.Limit, verdict)
	}
	return w.Flush()
}

// missed returns an error that names the budgets that were missed, or nil.
func missed(budgets []budget) error {
	var list []string
	for _, b := range budgets {
		if !b.met() {
			list = append(list, fmt.Sprintf("%s: %s is %.3f, not %s %.2f", b.Load, b.Figure, b.Value, b.relation(), b.Limit))
		}
	}
	if list == nil {
		return nil
	}
	return errors.New("wayside misses budgets: " + strings.Join(list, "; "))
}

// check returns an error if requests failed. It also returns an error if the books had not settled, because part of the CPU time is then
// missing.
func (r *result) check() error {
	for _, l := range r.Lines {
		if l.Errors > 0 {
			return fmt.Errorf("%s: %d requests failed in the load %s", l.Contestant, l.Errors, l.Load)
		}
		if l.Unsettled > 0 {
			return fmt.Errorf("%s: the books were not settled %v after the load %s, in %d rounds", l.Contestant, settleTimeout, l.Load, l.Unsettled)
		}
	}
	return nil
}

// checkBefore compares wayside with the older binary, if that was measured. For each load, it uses the median over the rounds of the
// ratio within a round. It fails if the CPU time of wayside is more than maxSlower percent above that of the older binary; 0 means
// no limit.
func (r *result) checkBefore(out io.Writer, maxSlower float64) error {
	for _, l := range r.Lines {
		own, before := r.samplesOf("wayside", l.Load), r.samplesOf("before", l.Load)
		if l.Contestant != "before" || len(own) == 0 {
			continue
		}
		slower := 100 * (rig.Median(ratios(own, before, sample.cpu)) - 1)
		fmt.Fprintf(out, "%s: wayside needs %+.1f %% CPU per request compared with before, median of %d rounds\n", l.Load, slower, len(own))
		if maxSlower > 0 && slower > maxSlower {
			return fmt.Errorf("%s: wayside needs %.1f %% more CPU than before; the limit is %.1f", l.Load, slower, maxSlower)
		}
	}
	return nil
}

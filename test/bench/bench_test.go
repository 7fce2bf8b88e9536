package main

import (
	"bytes"
	"io"
	"math"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestParseStatus(t *testing.T) {
	n, err := parseStubStatus("Active connections: 1 \nserver accepts handled requests\n 3 4 567 \nReading: 0 Writing: 1 Waiting: 0 \n")
	if err != nil || n != 567 {
		t.Error(n, err)
	}
	if _, err := parseStubStatus("<html>"); err == nil {
		t.Error("an HTML page is accepted")
	}
}

// The usage of a tree includes its children, even those that have ended.
func TestUsageOfTree(t *testing.T) {
	cmd := exec.Command("sh", "-c", `i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; (i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done); sleep 60 & echo ready; wait`)
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{name: "sh", cmd: cmd, done: make(chan error, 1)}
	if _, err := output.Read(make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	u, err := usageOf(cmd.Process.Pid, true)
	if err != nil || u.processes != 2 || u.cpu == 0 || u.pss == 0 {
		t.Errorf("%+v, %v", u, err)
	}
	stats, err := readStats()
	if err != nil {
		t.Fatal(err)
	}
	for pid, s := range stats {
		if s.Parent == cmd.Process.Pid {
			child, err := os.FindProcess(pid)
			if err != nil {
				t.Fatal(err)
			}
			_ = child.Kill()
		}
	}
	p.done <- cmd.Wait()
	if err := p.stop(); err != nil {
		t.Error(err)
	}
	if _, err := usageOf(cmd.Process.Pid, false); err == nil {
		t.Error("a process that has ended has a usage")
	}
}

func TestSummary(t *testing.T) {
	full := workload{connections: 64}
	r := result{Rounds: 3, Duration: "5s"}
	for round, cpu := range []float64{20, 30, 60} { // the machine gets slower, but the ratios stay the same
		for name, factor := range map[string]float64{reference: 1, "wayside": 1.2} {
			s := sample{
				Load: full.String(), Contestant: name, Round: round + 1, Settled: true,
				CPUMicros: cpu * factor, LoadMicros: cpu, PerSecond: 1e6 / cpu / factor, P99Micros: 100 * cpu * factor, PSSBytes: 32 << 20,
			}
			if name == "wayside" {
				s.TrafficMicros, s.BooksMicros = cpu, cpu*0.2
			}
			r.Samples = append(r.Samples, s)
		}
	}
	r.summarise([]workload{full}, []string{"wayside", reference})
	w := r.Lines[0]
	if w.CPUMicros != 36 || w.TrafficMicros != 30 || w.BooksMicros != 6 || !near(w.CPURatio, 1.2) || !near(w.RateRatio, 1/1.2) || !near(w.P99Ratio, 1.2) {
		t.Errorf("%+v", w)
	}
	r.judge(options{loads: []workload{full, {rate: 2000, connections: 16}}, duration: 5 * time.Second})
	if err := missed(r.Budgets); len(r.Budgets) != 3 || err == nil || strings.Count(err.Error(), "full/64") != 3 {
		t.Errorf("%+v: %v", r.Budgets, err)
	}
	var out bytes.Buffer
	if err := r.write(&out, []workload{full}, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"full speed, 64 connections", "36.00 µs  1.20    30.00   6.00", "32.0 MiB", "30.00 µs during load", "≤ 1.10  MISSED"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	if err := r.check(); err != nil {
		t.Error(err)
	}
	r.Lines[1].Unsettled = 1
	if r.check() == nil {
		t.Error("books that were not settled pass")
	}
	r.Lines[1].Unsettled, r.Lines[1].Errors = 0, 1
	if r.check() == nil {
		t.Error("errors pass")
	}
}

// Over HTTP/2, wayside is compared with nginx and with net/http.
func TestHTTP2Budgets(t *testing.T) {
	full := workload{connections: 64}
	r := &result{}
	for name, cpu := range map[string]float64{"wayside": 12, reference: 10, "nethttp": 15} {
		r.Samples = append(r.Samples, sample{Load: full.String(), Contestant: name, CPUMicros: cpu})
	}
	r.summarise([]workload{full}, []string{"wayside", reference, "nethttp"})
	r.judge(options{loads: []workload{full}, duration: time.Second, http2: "h2c"})
	if len(r.Budgets) != 2 || !near(r.Budgets[0].Value, 1.2) || !r.Budgets[0].met() || !near(r.Budgets[1].Value, 0.8) || r.Budgets[1].met() {
		t.Errorf("%+v", r.Budgets)
	}
}

// Over TLS, wayside's traffic process is compared with the same exchange behind a listener of crypto/tls, in both kinds of loads.
func TestTLSBudgets(t *testing.T) {
	o, err := parseFlags([]string{"-tls"})
	if err != nil || len(o.loads) != 2 || o.loads[0] != (workload{500, freshAtATime, true}) || o.loads[0].String() != "500/new" || len(o.only) != 7 {
		t.Fatalf("%+v, %v", o, err)
	}
	r := &result{}
	for _, w := range o.loads {
		for name, cpu := range map[string]float64{"wayside": 15, "exchange": 10, "forwarder": 9, reference: 5} {
			s := sample{Load: w.String(), Contestant: name, CPUMicros: cpu}
			if name == "wayside" {
				s.BooksMicros = 3
			}
			r.Samples = append(r.Samples, s)
		}
	}
	r.summarise(o.loads, o.only)
	if r.judge(o); len(r.Budgets) != 2 || missed(r.Budgets) != nil || !near(r.Budgets[0].Value, 1.2) || !near(r.Budgets[1].Value, 1.2) {
		t.Errorf("%+v", r.Budgets)
	}
}

func near(a, b float64) bool { return math.Abs(a-b) < 1e-9 }

// Each load has its budgets, and a figure equal to its limit meets the budget.
func TestBudgets(t *testing.T) {
	loads, err := parseWorkloads("2000/16,10000/64,full/4,full/64")
	if err != nil {
		t.Fatal(err)
	}
	limits := map[string][]float64{"2000/16": {1}, "10000/64": {1}, "full/4": {1.1, 1.5, 0.95}, "full/64": {1.1, 1, 0.95}}
	r := &result{}
	for _, w := range loads {
		l := line{Load: w.String(), Contestant: "wayside", CPURatio: limits[w.String()][0], P99Ratio: 9, RateRatio: 0.1}
		if w.rate == 0 {
			l.P99Ratio, l.RateRatio = limits[w.String()][1], limits[w.String()][2]
		}
		r.Lines = append(r.Lines, l)
	}
	r.judge(options{loads: loads, duration: 5 * time.Second})
	if err := missed(r.Budgets); len(r.Budgets) != 8 || err != nil {
		t.Errorf("%+v: %v", r.Budgets, err)
	}
	for i := range r.Budgets {
		b := r.Budgets[i]
		if b.Value += 0.01; b.AtLeast {
			b.Value -= 0.02
		}
		if b.met() {
			t.Errorf("%+v is met", b)
		}
	}
	r.Budgets, r.Lines = nil, []line{{Load: "10000/64", Contestant: "wayside", PSSBytes: 49 << 20}} // the reference was not measured
	if r.judge(options{loads: loads, duration: time.Second}); len(r.Budgets) != 0 {
		t.Errorf("%+v", r.Budgets)
	}
	if r.judge(options{loads: loads, duration: time.Minute}); len(r.Budgets) != 1 || r.Budgets[0].met() {
		t.Errorf("memory: %+v", r.Budgets)
	}
	idle := &idleResult{
		Idle:        []idleFigures{{Contestant: "wayside", CPUPercent: 0.31}, {Contestant: "nginx", CPUPercent: 5}},
		Connections: []connectionsFigures{{Contestant: "wayside", Connections: 5000, Before: 20 << 20, With: 40 << 20}},
	}
	if idle.judge(); len(idle.Budgets) != 2 || idle.Budgets[0].met() || !idle.Budgets[1].met() {
		t.Errorf("idle: %+v", idle.Budgets)
	}
}

func TestFlags(t *testing.T) {
	o, err := parseFlags([]string{"-loads", "500/1,full/256", "-only", "nginx,wayside", "-idle", "60s"})
	if err != nil || len(o.loads) != 2 || o.loads[0] != (workload{rate: 500, connections: 1}) || o.loads[1] != (workload{connections: 256}) || len(o.only) != 2 || o.rounds != 5 || !o.idling() {
		t.Errorf("%+v, %v", o, err)
	}
	if o.loads[0].String() != "500/1" || o.loads[1].String() != "full/256" {
		t.Error(o.loads)
	}
	if o, err = parseFlags(nil); err != nil || len(o.loads) != 4 || len(o.only) != 5 || o.idling() {
		t.Errorf("%+v, %v", o, err)
	}
	if o, err = parseFlags([]string{"-http2", "h2c"}); err != nil || len(o.loads) != 1 || o.loads[0] != (workload{connections: 64}) || len(o.only) != 5 || o.only[4] != "nethttp" {
		t.Errorf("%+v, %v", o, err)
	}
	for _, bad := range [][]string{
		{"-http2", "h3"},
		{"-http2", "h2", "-idle", "60s"},
		{"-http2", "h2", "-loads", "2000/16"},
		{"-tls", "-http2", "h2"},
		{"-tls", "-idle", "60s"},
		{"-tls", "-loads", "full/new"},
		{"-loads", "500/new"},
		{"-only", "caddy"},
		{"-loads", "x"},
		{"-loads", "full"},
		{"-loads", "full/0"},
		{"-loads", "0/4"},
		{"-loads", "-1/4"},
		{"-loads", "100/x"},
		{"-loads", ""},
		{"-only", "apache"},
		{"-rounds", "0"},
		{"-duration", "1ms"},
		{"-idle", "-1s"},
		{"-idle-conns", "-1"},
		{"more"},
	} {
		if _, err := parseFlags(bad); err == nil {
			t.Errorf("%v is accepted", bad)
		}
	}
}

func TestCheckBefore(t *testing.T) {
	r := &result{Lines: []line{{Contestant: "wayside", Load: "full/64"}, {Contestant: "before", Load: "full/64"}}}
	for _, micros := range [][2]float64{{10, 10}, {11, 10}, {30, 10}} { // the median is 10 % higher
		r.Samples = append(r.Samples, sample{Contestant: "wayside", Load: "full/64", CPUMicros: micros[0]}, sample{Contestant: "before", Load: "full/64", CPUMicros: micros[1]})
	}
	if r.checkBefore(io.Discard, 0) != nil || r.checkBefore(io.Discard, 11) != nil || r.checkBefore(io.Discard, 9) == nil {
		t.Error("10 % slower")
	}
}

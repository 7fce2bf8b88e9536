package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
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

// The usage of a tree includes its children, also those that have ended.
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
	r := result{Rounds: 3, Duration: "5s"}
	for round, cpu := range []float64{20, 30, 60} { // the machine gets slower; the ratios do not
		for name, factor := range map[string]float64{reference: 1, "wayside": 1.2} {
			r.Samples = append(r.Samples, sample{
				Contestant: name, Connections: 64, Round: round + 1, Settled: true,
				CPUMicros: cpu * factor, LoadMicros: cpu, PerSecond: 1e6 / cpu / factor, PSSBytes: 32 << 20,
			})
		}
	}
	r.summarise([]int{64}, []string{"wayside", reference})
	w := r.Lines[0]
	if w.CPUMicros != 36 || w.CPURatio < 1.19 || w.CPURatio > 1.21 || w.RateRatio < 0.82 || w.RateRatio > 0.84 {
		t.Errorf("%+v", w)
	}
	if r.check(1.25) != nil || r.check(1.1) == nil || r.check(0) != nil {
		t.Error("the limit of the ratio")
	}
	var out bytes.Buffer
	if err := r.write(&out, false); err != nil || !strings.Contains(out.String(), "1.20") || !strings.Contains(out.String(), "32.0 MiB") {
		t.Errorf("%v\n%s", err, &out)
	}
	r.Lines[1].Errors = 1
	if r.check(0) == nil {
		t.Error("errors pass")
	}
}

func TestFlags(t *testing.T) {
	o, err := parseFlags([]string{"-connections", "1,256", "-only", "nginx,wayside"})
	if err != nil || len(o.connections) != 2 || o.connections[1] != 256 || len(o.only) != 2 || o.rounds != 5 {
		t.Errorf("%+v, %v", o, err)
	}
	for _, bad := range [][]string{{"-connections", "x"}, {"-connections", "0"}, {"-only", "apache"}, {"-rounds", "0"}, {"-duration", "1ms"}, {"more"}} {
		if _, err := parseFlags(bad); err == nil {
			t.Errorf("%v is accepted", bad)
		}
	}
}

func TestCheckBefore(t *testing.T) {
	r := &result{Lines: []line{{Contestant: "wayside", Connections: 64}, {Contestant: "before", Connections: 64}}}
	for _, micros := range [][2]float64{{10, 10}, {11, 10}, {30, 10}} { // the median is 10 % above
		r.Samples = append(r.Samples, sample{Contestant: "wayside", Connections: 64, CPUMicros: micros[0]}, sample{Contestant: "before", Connections: 64, CPUMicros: micros[1]})
	}
	if r.checkBefore(io.Discard, 0) != nil || r.checkBefore(io.Discard, 11) != nil || r.checkBefore(io.Discard, 9) == nil {
		t.Error("10 % slower")
	}
}

package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"go/scanner"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/test/e2e"
)

// notUnderTest lists packages that are in the binary, but on which no promise depends: the demo and its parts.
var notUnderTest = []string{"/internal/demo", "/internal/load", "/internal/sampleapp"}

// CodeHash identifies the code under test. It covers the Go files of this module's packages in the binary, excluding tests and the demo,
// and the versions of all dependencies. It ignores comments other than directives, and the layout of the code. The cycles of several proofs
// can be added up as long as the hash stays the same.
func CodeHash() (string, error) {
	out, err := exec.Command("go", "list", "-deps", "-f",
		"{{if .Module}}{{if .Module.Main}}{{$d := .Dir}}{{.ImportPath}}{{range .GoFiles}} {{$d}}/{{.}}{{end}}{{end}}{{end}}",
		"github.com/wayside-proxy/wayside/cmd/wayside").Output()
	if err != nil {
		return "", fmt.Errorf("list the code under test: %w", err)
	}
	root, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	top := filepath.Dir(strings.TrimSpace(string(root)))
	files := []string{filepath.Join(top, "go.mod"), filepath.Join(top, "go.sum")}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if len(fields) > 0 && !hasSuffix(fields[0], notUnderTest) {
			files = append(files, fields[1:]...)
		}
	}
	sort.Strings(files)
	sum := sha256.New()
	for _, name := range files {
		rel, _ := filepath.Rel(top, name)
		text, err := os.ReadFile(name)
		if err != nil {
			return "", err
		}
		if strings.HasSuffix(name, ".go") {
			text = codeOf(text)
		}
		fmt.Fprintf(sum, "%s\n%s\n", rel, text)
	}
	return hex.EncodeToString(sum.Sum(nil))[:12], nil
}

// codeOf returns the tokens of a Go file, without comments other than directives.
func codeOf(text []byte) (tokens []byte) {
	var in scanner.Scanner
	files := token.NewFileSet()
	in.Init(files.AddFile("", files.Base(), len(text)), text, nil, scanner.ScanComments)
	for {
		switch _, kind, literal := in.Scan(); {
		case kind == token.EOF:
			return tokens
		case kind == token.COMMENT && !strings.HasPrefix(literal, "//go:"):
		default:
			tokens = fmt.Appendln(tokens, kind, literal)
		}
	}
}

func hasSuffix(s string, suffixes []string) bool {
	for _, suffix := range suffixes {
		if strings.HasSuffix(s, suffix) {
			return true
		}
	}
	return false
}

const evidenceHead = `# Evidence: faults

` + "`make faults`" + ` appends a row for each part of a proof. Package test/faults explains what a cycle is and what it
checks. Rows with the same hash of the code under test (column "code") add up, whatever else a commit changes. A "+"
after a commit means that the work tree differed from it.

| when (UTC) | fault | cycles | requests | lost | doubled | failed requests | dropped | quarantined | recovery, longest | first cycle | seed | code | commit | result |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
`

// Record is a row of the evidence table.
type Record struct {
	Fault                                                 string
	Cycles                                                int
	Requests, Lost, Doubled, Failed, Dropped, Quarantined uint64
	Recovery                                              time.Duration
	First                                                 int
	Code, Result                                          string
}

// Append adds a piece to the evidence.
func Append(file, code string, p *Piece) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	row := fmt.Sprintf("| %s | %s | %d | %d | %d | %d | %d | %d | %d | %d ms | %d | %d | %s | %s | %s |\n",
		time.Now().UTC().Format("2006-01-02 15:04"), p.Fault, p.Done, p.Sum.Requests, p.Sum.Lost, p.Sum.Doubled, p.Sum.Failed,
		p.Sum.Dropped, p.Sum.Quarantined, p.Sum.Recovery.Milliseconds(), p.First, p.Seed, code, e2e.Commit(), p.Result())
	if info, err := f.Stat(); err == nil && info.Size() == 0 {
		row = evidenceHead + row
	}
	_, err = io.WriteString(f, row)
	return errors.Join(err, f.Close())
}

// holds is the beginning of the result of a piece without a problem.
const holds = "holds"

// Result returns "holds", possibly with a remark; otherwise, it describes the problem.
func (p *Piece) Result() string {
	switch {
	case p.Problem == nil && p.Remark != "":
		return holds + ": " + oneLine(p.Remark)
	case p.Problem == nil:
		return holds
	case errors.Is(p.Problem, ErrSkipped):
		return oneLine(p.Problem.Error())
	}
	return "FAILS: " + oneLine(p.Problem.Error())
}

func oneLine(s string) string {
	return strings.NewReplacer("\n", "; ", "|", "/").Replace(s)
}

// ReadEvidence reads the rows for one hash of the code. If there is no file, it returns no rows.
func ReadEvidence(file, code string) ([]Record, error) {
	f, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	var out []Record
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		cells := strings.Split(lines.Text(), "|")
		if len(cells) != 17 {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if cells[13] != code {
			continue
		}
		number := func(i int) uint64 { n, _ := strconv.ParseUint(strings.TrimSuffix(cells[i], " ms"), 10, 64); return n }
		out = append(out, Record{
			Fault: cells[2], Cycles: int(number(3)), Requests: number(4), Lost: number(5), Doubled: number(6), Failed: number(7),
			Dropped: number(8), Quarantined: number(9), Recovery: time.Duration(number(10)) * time.Millisecond,
			First: int(number(11)), Code: code, Result: cells[15],
		})
	}
	return out, lines.Err()
}

// Next returns the cycle with which the proof of a fault continues: the one after the last successful cycle.
func Next(records []Record, fault string) int {
	next := 0
	for _, r := range records {
		if r.Fault == fault && strings.HasPrefix(r.Result, holds) {
			next = max(next, r.First+r.Cycles)
		}
	}
	return next
}

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// engine is a session of a database in a Node.js process, which can be killed. It is not safe for concurrent use.
type engine struct {
	name   string
	script string // npm ci must have been run in its folder
	args   []string
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
}

// row holds the columns of a result by name. Numbers are float64 or text.
type row map[string]any

func (r row) text(name string) string { return fmt.Sprint(r[name]) }

func (r row) number(name string) uint64 {
	switch v := r[name].(type) {
	case float64:
		return uint64(math.Round(v))
	case string:
		n, _ := strconv.ParseUint(v, 10, 64)
		return n
	}
	return 0
}

// answer is one line of the script's output.
type answer struct {
	Rows  []row  `json:"rows"`
	Error string `json:"error"`
}

func (e *engine) start() error {
	script, err := filepath.Abs(e.script)
	if err != nil {
		return err
	}
	e.cmd = exec.Command("node", append([]string{script}, e.args...)...)
	e.cmd.Stderr = os.Stderr
	if e.in, err = e.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := e.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	e.out = bufio.NewReaderSize(out, 1<<20)
	if err := e.cmd.Start(); err != nil {
		return fmt.Errorf("start %s (needs Node.js): %w", e.name, err)
	}
	return nil
}

// kill ends the process immediately, whatever the process is doing. The session can be restarted.
func (e *engine) kill() {
	_ = e.cmd.Process.Kill()
	_ = e.cmd.Wait()
}

// stop ends the session.
func (e *engine) stop() {
	_ = e.in.Close()
	_ = e.cmd.Wait()
}

var errEngineEnded = errors.New("the engine's process ended")

// query runs one statement.
func (e *engine) query(sql string) ([]row, error) {
	in, err := json.Marshal(map[string]string{"sql": strings.TrimSuffix(strings.TrimSpace(sql), ";")})
	if err != nil {
		return nil, err
	}
	if _, err := e.in.Write(append(in, '\n')); err != nil {
		return nil, fmt.Errorf("%w: %w", errEngineEnded, err)
	}
	line, err := e.out.ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("%w (run npm ci in %s first): %w", errEngineEnded, filepath.Dir(e.script), err)
	}
	var a answer
	if err := json.Unmarshal(line, &a); err != nil {
		return nil, err
	}
	if a.Error != "" {
		return nil, fmt.Errorf("%s: %.600s\nstatement: %.400s", e.name, a.Error, sql)
	}
	return a.Rows, nil
}

// run runs statements that are separated by semicolons at the end of a line.
func (e *engine) run(text string) error {
	for _, sql := range statements(text) {
		if _, err := e.query(sql); err != nil {
			return err
		}
	}
	return nil
}

var (
	commentLine  = regexp.MustCompile(`(?m)^--.*\n`)
	statementEnd = regexp.MustCompile(`;[ \t]*\n`)
)

// statements splits a script of `wayside fleet sql` into statements.
func statements(text string) []string {
	var out []string
	for _, sql := range statementEnd.Split(commentLine.ReplaceAllString(text+"\n", ""), -1) {
		if sql = strings.TrimSpace(sql); sql != "" {
			out = append(out, sql)
		}
	}
	return out
}

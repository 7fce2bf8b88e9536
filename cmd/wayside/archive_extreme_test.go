package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/test/e2e"
	"github.com/wayside-proxy/wayside/uploader"
)

// floodedArchive archives one hour of hostile requests: 2,000 hosts of 246 bytes with paths of 245 bytes, 20,000 short
// names, and paths with bytes that JSON cannot represent. It returns the data directory.
func floodedArchive(t *testing.T) (dir string, responses uint64) {
	t.Helper()
	dir = t.TempDir()
	s := openTestStore(t, dir)
	target, err := uploader.OpenTarget(t.Context(), filepath.Join(dir, "archive"), uploader.TargetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	u, err := uploader.New(uploader.Options{Source: s, Catalogue: s, Target: target, Service: "shop", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Date(2026, 3, 17, 9, 0, 0, 0, time.UTC).UnixMicro()
	b := &store.Batch{Epoch: uuid.UUID{6: 0x70, 8: 0x80, 15: 1}}
	flush := func() {
		t.Helper()
		if b.LastSeq = responses; len(b.Items) == 0 {
			return
		}
		if err := s.Apply(b); err != nil {
			t.Fatal(err)
		}
		b.Items = b.Items[:0]
	}
	add := func(host, label string, path []byte, status int) {
		responses++
		b.Items = append(b.Items, store.Item{Seq: responses, Host: host, Method: "GET", Label: label, Event: event.Event{
			TimeMicros: begin + int64(responses), Kind: event.KindRequest, Status: uint16(status), DurationMicros: responses,
			Method: []byte("GET"), Host: []byte(host), Path: path,
		}})
		if len(b.Items) == 500 {
			flush()
		}
	}
	for i := range 2000 {
		host, label := fmt.Sprintf("%0246d", i), fmt.Sprintf("/%0244d", i)
		add(host, label, []byte(label), 100+i%900)
	}
	for i := range 20_000 {
		add("h", fmt.Sprint("/", i), fmt.Append(nil, "/", i), 200)
	}
	for range 10 {
		add("h", "(other)", bytes.Repeat([]byte{0xff}, event.PathBytesMax), 404)
	}
	flush()
	if _, err := u.ArchiveOnce(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, responses
}

// TestArchiveOfAFlood: every archive command works on an archive of hostile requests, and rebuilt statistics equal the original ones.
func TestArchiveOfAFlood(t *testing.T) {
	dir, responses := floodedArchive(t)
	for _, origin := range []string{"best", "events"} {
		if out := command(t, exitOK, "archive", "rebuild", "--data", dir, "--origin", origin); !strings.Contains(out, "0 differ, and 0 exist on only one side") {
			t.Errorf("from %s: %s", origin, out)
		}
	}
	command(t, exitOK, "archive", "verify", "--data", dir)
	if out := command(t, exitOK, "archive", "cat", "--data", dir); uint64(strings.Count(out, "\n")) != responses {
		t.Errorf("%d lines", strings.Count(out, "\n"))
	}
	restored := filepath.Join(t.TempDir(), "restored")
	command(t, exitOK, "archive", "restore", "--data", dir, "--into", restored)
	for _, args := range [][]string{{"archive", "verify"}, {"archive", "rebuild"}, {"verify"}} {
		command(t, exitOK, append(args, "--data", restored)...)
	}
}

// TestRebuildKilledAtAnyMoment: after a rebuild was killed at any time, the next one completes, and counts everything
// once.
func TestRebuildKilledAtAnyMoment(t *testing.T) {
	dir, responses := floodedArchive(t)
	into := filepath.Join(t.TempDir(), "into")
	args := []string{"archive", "rebuild", "--data", dir, "--into", into}
	binary, err := e2e.Build(t.Context(), t.TempDir()) // without the race detector, with which each of these many runs takes several times as long
	if err != nil {
		t.Fatal(err)
	}
	for wait := 50 * time.Millisecond; ; wait += wait / 2 {
		var said bytes.Buffer
		cmd := exec.Command(binary, args...)
		cmd.Stderr = &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		kill := time.AfterFunc(wait, func() { _ = cmd.Process.Kill() })
		err := cmd.Wait()
		kill.Stop()
		if _, noStore := os.Stat(filepath.Join(into, "store")); err == nil || noStore == nil { // it may have been killed after its last step
			break
		}
		if cmd.ProcessState.Exited() {
			t.Fatalf("%v: %s", err, said.String())
		}
	}
	out := command(t, exitOK, "archive", "rebuild", "--data", into, "--archive", "file://"+filepath.Join(dir, "archive"), "--output", "json")
	var done struct {
		Responses uint64
		Local     struct{ Equal, Different, Missing int }
	}
	if err := json.Unmarshal([]byte(out), &done); err != nil || done.Responses != responses || done.Local.Equal != 22_001 || done.Local.Different+done.Local.Missing > 0 {
		t.Errorf("%s, %v", out, err)
	}
	s := openTestStore(t, into)
	defer s.Close()
	if totals, sum, err := s.Account(t.Context()); err != nil || totals.Applied != responses || sum != responses {
		t.Errorf("%+v, %d in the rows, %v; want %d", totals, sum, err, responses)
	}
}

// TestNamesOfStrangersAreNotObeyed: no command prints control characters from an archive.
func TestNamesOfStrangersAreNotObeyed(t *testing.T) {
	dir := archived(t, "")
	evil := "evil%1B%5B31m\u202e\x1b[2J\nall as it should be"
	hour := filepath.Join(dir, "archive", "v1", "dt=2026-03-17", "hour=09")
	name := evil + "_x_" + uuid.NewString() + "_1-2.ndjson.gz"
	for file, text := range map[string]string{name: "no gzip \x1b[31m", name + ".json": `{"wayside-rows": "\u001b[31m", "wayside-raw-bytes": "\u001b[31m"}` + "\n"} {
		if err := os.WriteFile(filepath.Join(hour, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	archive := "file://" + filepath.Join(dir, "archive")
	for _, args := range [][]string{
		{"ls"}, {"verify"}, {"verify", "--quick"}, {"cat"}, {"rebuild", "--into", filepath.Join(t.TempDir(), "a")}, {"restore", "--into", filepath.Join(t.TempDir(), "b")},
	} {
		var out, errs bytes.Buffer
		code := Main(append(append([]string{"archive"}, args...), "--bucket", archive), &out, &errs)
		if want := map[bool]int{true: exitOK, false: exitFailure}[args[0] == "ls"]; code != want {
			t.Errorf("%v: exit code %d, want %d: %s", args, code, want, errs.String())
		}
		for _, text := range []string{out.String(), errs.String()} {
			for _, bad := range []string{"\x1b", "\u202e", "\nall as it"} {
				if strings.Contains(text, bad) {
					t.Errorf("%v prints %q", args, text[max(0, strings.Index(text, bad)-80):])
				}
			}
		}
		if !strings.Contains(out.String()+errs.String(), "evil") {
			t.Errorf("%v does not name it: %s%s", args, out.String(), errs.String())
		}
	}
}

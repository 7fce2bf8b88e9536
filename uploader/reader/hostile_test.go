package reader_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/wayside-proxy/wayside/uploader"
	"github.com/wayside-proxy/wayside/uploader/reader"
)

const (
	strangeEpoch = "00000000-0000-7000-8000-0000000000ff"
	strangeKey   = "v1/dt=2026-03-17/hour=09/shop_x_" + strangeEpoch + "_1-2.ndjson.gz"
)

func zipped(t *testing.T, text []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	if _, err := zip.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// honest returns the correct metadata of an object with two events.
func honest(text []byte) map[string]string {
	return map[string]string{
		uploader.MetaFormat: "1", uploader.MetaRows: "2", uploader.MetaLines: "2", uploader.MetaRawBytes: strconv.Itoa(len(text)),
		uploader.MetaRawSHA256: fmt.Sprintf("%x", sha256.Sum256(text)), uploader.MetaRunCount: "1", uploader.MetaRuns: "1-2",
	}
}

// strange is an object of unknown origin, with two events and a row that counts them.
type strange struct {
	events, statistics []byte // NDJSON
	zip                []byte // if set, the bytes of the event object
	meta, statsMeta    map[string]string
}

func newStrange(eventFields, statsFields string) *strange {
	s := &strange{}
	for seq := range 2 {
		s.events = fmt.Appendf(s.events, `{"event_id":"019cfb2e-7a4b-7a4b-8000-000000000001","ts":"2026-03-17T09:59:00.%06dZ","http_request_method":"GET","url_path":"/a","url_template":"/a","http_response_status_code":200,"duration_us":5,"ttfb_us":4,"http_request_body_size":0,"http_response_body_size":9,"server_address":"h"%s,"kind":"request","service":"shop","instance":"x","epoch":"%s","seq":%d,"schema_version":1}`+"\n",
			seq, "", strangeEpoch, seq+1)
	}
	s.statistics = fmt.Appendf(nil, `{"hour":"2026-03-17T09:00:00Z","server_address":"h","http_request_method":"GET","url_template":"/a","count":2,"errors":0,"streams":0,"bytes_in":0,"bytes_out":18,"latency_us_sum":10,"latency_us_max":5,"status":[{"code":200,"count":2}],"error_types":[],"latency_below_1us":0,"latency_bins":[{"bin":74,"count":2}],"service":"shop","instance":"x","epoch":"%s","schema_version":1}`+"\n", strangeEpoch)
	s.replace(eventFields)
	if from, to, found := strings.Cut(statsFields, " => "); found {
		s.statistics = bytes.Replace(s.statistics, []byte(from), []byte(to), 1)
	}
	s.meta, s.statsMeta = honest(s.events), honest(s.statistics)
	s.statsMeta[uploader.MetaLines] = "1"
	return s
}

// replace changes the events, as "from => to".
func (s *strange) replace(change string) {
	if from, to, found := strings.Cut(change, " => "); found {
		s.events = bytes.Replace(s.events, []byte(from), []byte(to), 1)
	}
}

func (s *strange) put(t *testing.T, dir string) {
	t.Helper()
	if s.zip == nil {
		s.zip = zipped(t, s.events)
	}
	for key, object := range map[string]struct {
		body []byte
		meta map[string]string
	}{strangeKey: {s.zip, s.meta}, uploader.StatsKey(strangeKey): {zipped(t, s.statistics), s.statsMeta}} {
		name := filepath.Join(dir, key)
		meta, err := json.MarshalIndent(object.meta, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		for file, content := range map[string][]byte{name: object.body, name + ".json": append(meta, '\n')} {
			if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// allocates returns the number of bytes that fn allocates, which is at least the peak.
func allocates(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestStrangersObjects: whatever is under the key of an object is reported with the reason, takes little memory and is
// not counted, and the other objects are read.
func TestStrangersObjects(t *testing.T) {
	bomb := func(piece []byte) *strange { // half a GiB, which is many times the memory limit
		s := newStrange("", "")
		s.zip = bytes.Repeat(zipped(t, bytes.Repeat(piece, (64<<20)/len(piece))), 8)
		s.meta[uploader.MetaRawBytes] = strconv.Itoa(512 << 20)
		return s
	}
	with := func(s *strange, name, value string) *strange {
		s.meta = maps.Clone(s.meta)
		s.meta[name] = value
		return s
	}
	cases := map[string]*strange{
		"one line of 512 MiB":         bomb([]byte("x")),
		"512 MiB of empty lines":      bomb([]byte("\n")),
		"512 MiB, announced as 10":    with(bomb([]byte("x")), uploader.MetaRawBytes, "10"),
		"more than can be announced":  with(newStrange("", ""), uploader.MetaRawBytes, "18446744073709551615"),
		"announced as nothing":        with(newStrange("", ""), uploader.MetaRawBytes, "-1"),
		"another hash":                with(newStrange("", ""), uploader.MetaRawSHA256, "00"),
		"more rows announced":         with(newStrange("", ""), uploader.MetaRows, "3"),
		"cut off":                     {zip: zipped(t, []byte("{}"))[:9], meta: honest(nil), statsMeta: honest(nil)},
		"no gzip":                     {zip: []byte("<html>"), meta: honest(nil), statsMeta: honest(nil)},
		"status 70000":                newStrange(`code":200 => code":70000`, ""),
		"status -1":                   newStrange(`code":200 => code":-1`, ""),
		"a negative duration":         newStrange(`duration_us":5 => duration_us":-5`, ""),
		"a duration of ages":          newStrange(`duration_us":5 => duration_us":18446744073709551615`, ""),
		"a body of half an exabyte":   newStrange(`response_body_size":9 => response_body_size":576460752303423488`, ""),
		"another year":                newStrange(`"2026- => "9999-`, ""),
		"another hour":                newStrange(`T09: => T10:`, ""),
		"no time":                     newStrange(`"2026-03-17T => "yesterday`, ""),
		"number 0":                    newStrange(`"seq":1 => "seq":0`, ""),
		"numbers that do not ascend":  newStrange(`"seq":1 => "seq":2`, ""),
		"a number outside its name":   newStrange(`"seq":2 => "seq":3`, ""),
		"another epoch":               newStrange(`"epoch":"00000000 => "epoch":"11111111`, ""),
		"an unknown kind":             newStrange(`"kind":"request" => "kind":"\u001b[31m"`, ""),
		"a long host":                 newStrange(`"server_address":"h" => "server_address":"`+strings.Repeat("h", 5000)+`"`, ""),
		"a long path":                 newStrange(`"url_path":"/a" => "url_path":"`+strings.Repeat("/", 100_000)+`"`, ""),
		"deep":                        newStrange(`"server_address":"h" => "x":`+strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000), ""),
		"no JSON":                     newStrange(`{ => {{`, ""),
		"no last line feed":           {zip: zipped(t, bytes.TrimSuffix(newStrange("", "").events, []byte("\n"))), meta: honest(nil), statsMeta: honest(nil)},
		"statistics of status 70000":  newStrange(`"h" => "h2"`, `"code":200 => "code":70000`),
		"statistics of another hour":  newStrange(`"h" => "h2"`, `T09: => T10:`),
		"statistics that add nothing": newStrange(`"h" => "h2"`, `"count":2,"errors" => "count":3,"errors"`),
		"statistics in ages":          newStrange(`"h" => "h2"`, `"latency_us_max":5 => "latency_us_max":18446744073709551615`),
	}
	many := newStrange("", "") // too many rows, all valid
	many.events = nil
	for i := range uploader.RowNamesMax + 10 {
		many.statistics = append(many.statistics, bytes.Replace(newStrangeRow, []byte("/a"), strconv.AppendInt([]byte("/a"), int64(i), 10), 1)...)
	}
	many.zip, many.statsMeta = zipped(t, nil), honest(many.statistics)
	cases["statistics without end"] = many
	common := newLibrary(t)
	reasons := map[string]string{ // reading must end because of this limit, not because of a later one
		"one line of 4 GiB": "is longer than", "4 GiB, announced as 10": "continues after the 10 bytes", "statistics without end": "rows of statistics",
		"status 70000": "status 70000", "a long path": "url_path of 100000 bytes",
	}
	for name, s := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(common.dir)); err != nil {
				t.Fatal(err)
			}
			target, err := uploader.OpenTarget(t.Context(), dir, uploader.TargetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			s.put(t, dir)
			named := func(what string, problems []reader.Problem, err error) {
				t.Helper()
				if err != nil || len(problems) == 0 {
					t.Errorf("%s: %v, %v", what, problems, err)
				}
				for _, p := range problems {
					if p.Key != strangeKey && p.Key != uploader.StatsKey(strangeKey) || len(p.What) == 0 || len(p.What) > 500 {
						t.Errorf("%s: %.1000s", what, p)
					}
					if what != "copy" && !strings.Contains(p.What, reasons[name]) {
						t.Errorf("%s: %.1000s, want the reason %q", what, p, reasons[name])
					}
				}
			}
			took := allocates(func() {
				if !strings.HasPrefix(name, "statistics") {
					r, err := reader.Verify(t.Context(), target, reader.VerifyOptions{})
					named("verify", r.Problems, err)
					if name != "another hash" && name != "more rows announced" {
						c, err := reader.Cat(t.Context(), target, reader.Filter{Drops: true}, io.Discard, 0)
						if named("cat", c.Problems, err); c.Lines < 2000 || c.Lines > 2001 {
							t.Errorf("cat: %d lines", c.Lines)
						}
					}
				}
				for _, from := range []reader.Origin{reader.FromEvents, reader.FromStatistics} {
					if (from == reader.FromStatistics) != strings.HasPrefix(name, "statistics") {
						continue
					}
					built, err := reader.Rebuild(t.Context(), target, reader.RebuildOptions{From: from})
					if named("rebuild", built.Problems, err); built.Responses != 1998 {
						t.Errorf("rebuild: %d responses", built.Responses)
					}
				}
				to, err := uploader.OpenTarget(t.Context(), t.TempDir(), uploader.TargetOptions{})
				if err != nil {
					t.Fatal(err)
				}
				c, err := reader.Copy(t.Context(), target, to, reader.CopyOptions{})
				named("copy", c.Problems, err)
				if c.Rows < 1998 || c.Rows > 2000 {
					t.Errorf("copied %+v", c)
				}
			})
			limit := uint64(100 << 20)
			if name == "statistics without end" { // garbage from decoding a hundred thousand lines
				limit = 500 << 20
			}
			if took > limit {
				t.Errorf("%d bytes were allocated", took)
			}
		})
	}
	t.Run("huge metadata", func(t *testing.T) {
		l := newLibrary(t)
		newStrange("", "").put(t, l.dir)
		file, err := os.Create(filepath.Join(l.dir, strangeKey+".json"))
		if err != nil {
			t.Fatal(err)
		}
		if err := file.Truncate(4 << 30); err != nil {
			t.Fatal(err)
		}
		took := allocates(func() {
			if c, err := reader.Cat(t.Context(), l.target, reader.Filter{Drops: true}, io.Discard, 0); err != nil || c.Lines != 2000 || len(c.Problems) != 1 {
				t.Errorf("%+v, %v", c, err)
			}
		})
		if err := file.Close(); err != nil || took > 100<<20 {
			t.Errorf("%d bytes were allocated, %v", took, err)
		}
	})
	t.Run("what it is without a change", func(t *testing.T) { // checks the test itself
		l := newLibrary(t)
		newStrange("", "").put(t, l.dir)
		for _, from := range []reader.Origin{reader.FromEvents, reader.FromStatistics} {
			if built, err := reader.Rebuild(t.Context(), l.target, reader.RebuildOptions{From: from}); err != nil || built.Responses != 2000 || len(built.Problems) > 0 {
				t.Errorf("%+v, %v", built, err)
			}
		}
		if r, err := reader.Verify(t.Context(), l.target, reader.VerifyOptions{}); err != nil || len(r.Problems) > 0 {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

var newStrangeRow = newStrange("", "").statistics

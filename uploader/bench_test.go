package uploader

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
	"time"

	kgzip "github.com/klauspost/compress/gzip"
	"golang.org/x/sys/unix"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
)

const benchEvents = 200_000

func benchPlan(b *testing.B, traceIDs bool) (*memStore, *catalogue.Plan) {
	b.Helper()
	m := newMemStore(b)
	m.apply(testEpoch, testHour, 1000, traffic(benchEvents, testHour, 1, traceIDs)...)
	pending, err := m.Pending(context.Background(), farFuture)
	if err != nil {
		b.Fatal(err)
	}
	pl := planner{service: "shop", instance: "shop-7d9f8b6c5d-x2x7q", objectBytes: 1 << 40, estimate: &estimate{}}
	if traceIDs {
		pl.fields = []string{FieldTraceID}
	}
	plans := pl.cut(pending, testHour, true)
	if len(plans) != 1 {
		b.Fatalf("%d plans", len(plans))
	}
	return m, plans[0]
}

// BenchmarkArchive builds an object of realistic events, from encoded records to the compressed and hashed buffer, and
// reads it back for verification. That includes decoding the records.
func BenchmarkArchive(b *testing.B) {
	for _, traceIDs := range []bool{false, true} {
		b.Run(fmt.Sprintf("trace_id=%t", traceIDs), func(b *testing.B) {
			m, plan := benchPlan(b, traceIDs)
			bld := newBuilder()
			var out *built
			cpu, rounds := cpuTime(b), 0
			for b.Loop() {
				var err error
				if out, err = bld.build(context.Background(), m, plan); err != nil {
					b.Fatal(err)
				}
				if _, err = bld.unpacker.digest(bld.body.reader(), out.rawBytes); err != nil {
					b.Fatal(err)
				}
				rounds++
			}
			used := cpuTime(b) - cpu
			report(b, out)
			b.ReportMetric(float64(rounds)*float64(out.rawBytes)/1e6/used.Seconds(), "MB/cpu-s")
			b.ReportMetric(float64(memoryOf(b, m, plan))/(1<<20), "MiB/object")
		})
	}
}

// BenchmarkVerify reads an object back: gunzip, and the hash of the compressed bytes.
func BenchmarkVerify(b *testing.B) {
	m, plan := benchPlan(b, false)
	bld := newBuilder()
	out, err := bld.build(context.Background(), m, plan)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := bld.unpacker.digest(bld.body.reader(), out.rawBytes); err != nil {
			b.Fatal(err)
		}
	}
	report(b, out)
}

// BenchmarkLevels is the measurement behind gzipLevel. It compares the standard library and, if it is installed, gzip
// on the same lines.
func BenchmarkLevels(b *testing.B) {
	m, plan := benchPlan(b, false)
	raw := rawLines(b, m, plan)
	for level := 1; level <= 9; level++ {
		b.Run("klauspost-"+strconv.Itoa(level), func(b *testing.B) {
			benchCompressor(b, raw, func(w io.Writer) (io.WriteCloser, error) { return kgzip.NewWriterLevel(w, level) })
		})
	}
	b.Run("stdlib-6", func(b *testing.B) {
		benchCompressor(b, raw, func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriterLevel(w, 6) })
	})
	b.Run("gzip-6", func(b *testing.B) {
		bin, err := exec.LookPath("gzip")
		if err != nil {
			b.Skip("no gzip installed")
		}
		name := b.TempDir() + "/lines"
		if err := os.WriteFile(name, raw, 0o600); err != nil {
			b.Fatal(err)
		}
		var out []byte
		for b.Loop() {
			if out, err = exec.Command(bin, "-6", "-c", name).Output(); err != nil {
				b.Fatal(err)
			}
		}
		report(b, &built{rawBytes: uint64(len(raw)), objectBytes: uint64(len(out)), lines: benchEvents})
	})
}

// BenchmarkLines writes lines without compressing them.
func BenchmarkLines(b *testing.B) {
	m, plan := benchPlan(b, false)
	w := newLineWriter(plan)
	buf := make([]byte, 0, 4096)
	var size int
	for b.Loop() {
		size = 0
		err := m.Events(context.Background(), plan, func(seq uint64, row *catalogue.RowName, e *event.Event) error {
			buf = w.appendLine(buf[:0], seq, row, e)
			size += len(buf)
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(size))
}

func benchCompressor(b *testing.B, raw []byte, open func(io.Writer) (io.WriteCloser, error)) {
	b.Helper()
	var out countingHash
	for b.Loop() {
		out = countingHash{w: io.Discard, h: nopHash{}}
		w, err := open(&out)
		if err != nil {
			b.Fatal(err)
		}
		for rest := raw; len(rest) > 0; {
			n := min(len(rest), flushBytes)
			if _, err := w.Write(rest[:n]); err != nil {
				b.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
	}
	report(b, &built{rawBytes: uint64(len(raw)), objectBytes: out.n, lines: benchEvents})
}

func rawLines(b *testing.B, m *memStore, plan *catalogue.Plan) []byte {
	b.Helper()
	w := newLineWriter(plan)
	var raw bytes.Buffer
	err := m.Events(context.Background(), plan, func(seq uint64, row *catalogue.RowName, e *event.Event) error {
		raw.Write(w.appendLine(nil, seq, row, e))
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return raw.Bytes()
}

func report(b *testing.B, out *built) {
	b.Helper()
	b.SetBytes(int64(out.rawBytes))
	lines := float64(out.lines)
	b.ReportMetric(float64(out.rawBytes)/lines, "rawB/event")
	b.ReportMetric(float64(out.objectBytes)/lines, "B/event")
	b.ReportMetric(100*(1-float64(out.objectBytes)/float64(out.rawBytes)), "%saved")
	if out.encodedBytes > 0 {
		b.ReportMetric(float64(out.objectBytes)/float64(out.encodedBytes), "of-encoded")
	}
}

// cpuTime returns the CPU time of the process so far. On a busy machine, the elapsed time says nothing about the cost.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// memoryOf returns everything that building and verifying one object allocates, including garbage and mapped memory,
// which is at least the peak.
func memoryOf(tb testing.TB, m *memStore, plan *catalogue.Plan) uint64 {
	tb.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	bld := newBuilder()
	out, err := bld.build(context.Background(), m, plan)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := bld.unpacker.digest(bld.body.reader(), out.rawBytes); err != nil {
		tb.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	mapped := min(uint64(len(bld.body.memory)), out.objectBytes)
	bld.body.release()
	return after.TotalAlloc - before.TotalAlloc + mapped
}

type nopHash struct{}

func (nopHash) Write(p []byte) (int, error) { return len(p), nil }
func (nopHash) Sum(b []byte) []byte         { return b }
func (nopHash) Reset()                      {}
func (nopHash) Size() int                   { return 0 }
func (nopHash) BlockSize() int              { return 1 }

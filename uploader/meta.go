package uploader

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/wayside-proxy/wayside/internal/catalogue"
)

// FormatVersion is the version of the object format for new plans: gzip of NDJSON with [SchemaVersion]. Plans store it,
// because the bytes of an object depend on it.
const FormatVersion = 1

// Names in an object's metadata. In S3, they are stored as x-amz-meta-…; in a directory, in the file beside the object. The names are
// part of the format.
const (
	MetaFormat    = "wayside-format"       // [FormatVersion]
	MetaRows      = "wayside-rows"         // responses; drop records are not counted
	MetaLines     = "wayside-lines"        // all lines
	MetaRawBytes  = "wayside-raw-bytes"    // size of the NDJSON
	MetaRawSHA256 = "wayside-raw-sha256"   // hash of the NDJSON, in hex
	MetaRunCount  = "wayside-runs-count"   // number of sequence runs
	MetaRuns      = "wayside-runs"         // "first-last,first-last,…", both ends included; absent if there is no room for it
	metaHeadBytes = len("x-amz-meta-: \n") // maximum size of an entry in addition to its name and value
)

// ErrNewerFormat means that a newer wayside wrote an object in a format that this version does not know. The object has not been read.
var ErrNewerFormat = errors.New("written by a newer wayside")

// CheckFormat returns an error that wraps [ErrNewerFormat] if an object's metadata names a newer format. It accepts missing and damaged
// metadata, because callers compare the metadata with the content themselves.
func CheckFormat(key string, meta map[string]string) error {
	if v, err := strconv.ParseUint(meta[MetaFormat], 10, 64); err == nil && v > FormatVersion {
		return newer(key, "object format", v, FormatVersion)
	}
	return nil
}

// checkSchema is like CheckFormat but checks the schema_version of a line.
func checkSchema(key string, version int) error {
	if version > SchemaVersion {
		return newer(key, "schema_version", uint64(version), SchemaVersion)
	}
	return nil
}

func newer(key, what string, is, known uint64) error {
	return fmt.Errorf("%s: %w: its %s is %d, but this version reads up to %d; read this archive with the version that wrote it or a later one",
		key, ErrNewerFormat, what, is, known)
}

// planMeta returns the metadata of a built object. limit is the maximum total size, in bytes, of names and values; 0 means no limit.
func planMeta(p *catalogue.Plan, b *built, limit int) map[string]string {
	m := map[string]string{
		MetaFormat:    strconv.Itoa(p.FormatVersion),
		MetaRows:      strconv.FormatUint(b.rows, 10),
		MetaLines:     strconv.FormatUint(b.lines, 10),
		MetaRawBytes:  strconv.FormatUint(b.rawBytes, 10),
		MetaRawSHA256: b.rawSHA256,
		MetaRunCount:  strconv.Itoa(len(p.Runs)),
	}
	used := len(MetaRuns) + metaHeadBytes
	for k, v := range m {
		used += len(k) + len(v) + metaHeadBytes
	}
	runs := appendRuns(nil, p.Runs, limit, used)
	if runs != nil {
		m[MetaRuns] = string(runs)
	}
	return m
}

// appendRuns appends the runs as text. It returns nil if the text, together with the used bytes, would exceed a limit
// greater than 0.
func appendRuns(dst []byte, runs []catalogue.Run, limit, used int) []byte {
	for i, r := range runs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(dst, r.First, 10)
		dst = append(dst, '-')
		dst = strconv.AppendUint(dst, r.Last, 10)
		if limit > 0 && used+len(dst) > limit {
			return nil
		}
	}
	return dst
}

// ParseRuns parses the value of [MetaRuns].
func ParseRuns(text string) ([]catalogue.Run, error) {
	if text == "" {
		return nil, nil
	}
	var runs []catalogue.Run
	for part := range strings.SplitSeq(text, ",") {
		first, last, found := strings.Cut(part, "-")
		if !found {
			return nil, fmt.Errorf("sequence run %q is not FIRST-LAST", part)
		}
		f, err := strconv.ParseUint(first, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("sequence run %q: %w", part, err)
		}
		l, err := strconv.ParseUint(last, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("sequence run %q: %w", part, err)
		}
		if l < f {
			return nil, fmt.Errorf("sequence run %q ends before it begins", part)
		}
		runs = append(runs, catalogue.Run{First: f, Last: l})
	}
	return runs, nil
}

// metaDiffers describes an entry of want that is missing from got or has a different value there. It returns "" if there is no such
// entry.
func metaDiffers(want, got map[string]string) string {
	for k, v := range want {
		if got[k] != v {
			return fmt.Sprintf("%s is %q, not %q", k, printable(got[k], 100), v)
		}
	}
	return ""
}

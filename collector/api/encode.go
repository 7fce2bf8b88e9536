package api

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"time"
)

// marshal is json.Marshal, but that thousands of points are written field by field: through reflection it takes as long as
// finding them.
func marshal(v any) ([]byte, error) {
	a, ok := v.(seriesAnswer)
	if !ok {
		return json.Marshal(v) //nolint:wrapcheck // the caller answers that it failed
	}
	points := a.Points
	a.Points = nil
	text, err := json.Marshal(a)
	if err != nil {
		return nil, err //nolint:wrapcheck // as above
	}
	// In a text these quotes would be escaped, and what the range is compared with leaves out what it has not.
	before, after, found := bytes.Cut(text, []byte(`"points":null`))
	if !found || points == nil {
		return text, nil
	}
	dst := make([]byte, 0, len(text)+pointBytes*len(points))
	dst = append(append(dst, before...), `"points":[`...)
	for i := range points {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = points[i].appendJSON(dst); err != nil {
			return nil, err
		}
	}
	return append(append(dst, ']'), after...), nil
}

// pointBytes is about what a point takes.
const pointBytes = 256

// appendJSON appends what json.Marshal gives.
func (p *point) appendJSON(dst []byte) ([]byte, error) {
	dst = append(dst, `{"time":"`...)
	dst = p.Time.AppendFormat(dst, time.RFC3339Nano)
	dst = append(dst, `","count":`...)
	dst = strconv.AppendUint(dst, p.Count, 10)
	dst = appendFloat(append(dst, `,"rate":`...), p.Rate)
	dst = appendField(dst, `,"errors":`, p.Errors)
	dst = appendField(dst, `,"streams":`, p.Streams)
	dst = appendCounts(append(dst, `,"status":`...), p.Status)
	if len(p.ErrorTypes) > 0 {
		text, err := json.Marshal(p.ErrorTypes)
		if err != nil {
			return nil, err //nolint:wrapcheck // as above
		}
		dst = append(append(dst, `,"error_types":`...), text...)
	}
	dst = appendField(dst, `,"bytes_in":`, p.BytesIn)
	dst = appendField(dst, `,"bytes_out":`, p.BytesOut)
	l := &p.Latency
	dst = appendField(dst, `,"latency_us":{"p50":`, l.P50)
	dst = appendField(dst, `,"p90":`, l.P90)
	dst = appendField(dst, `,"p95":`, l.P95)
	dst = appendField(dst, `,"p99":`, l.P99)
	dst = appendField(dst, `,"p999":`, l.P999)
	dst = appendField(dst, `,"max":`, l.Max)
	dst = appendField(dst, `,"mean":`, l.Mean)
	return append(dst, "}}"...), nil
}

func appendField(dst []byte, head string, n uint64) []byte {
	return strconv.AppendUint(append(dst, head...), n, 10)
}

// appendCounts appends counts by a key that is a number.
func appendCounts(dst []byte, counts map[string]uint64) []byte {
	var space [16]string
	keys := space[:0]
	for key := range counts {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	dst = append(dst, '{')
	for i, key := range keys {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(append(dst, '"'), key...), `":`...)
		dst = strconv.AppendUint(dst, counts[key], 10)
	}
	return append(dst, '}')
}

// appendFloat appends a number that is finite and not negative as encoding/json does.
func appendFloat(dst []byte, f float64) []byte {
	if f != 0 && (f < 1e-6 || f >= 1e21) || math.Signbit(f) {
		text, _ := json.Marshal(f) // which fails for no finite number
		return append(dst, text...)
	}
	return strconv.AppendFloat(dst, f, 'f', -1, 64)
}

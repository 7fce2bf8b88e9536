package admin

import (
	"bytes"
	"strconv"
)

// pathLabels are the labels whose values are paths or the texts of marks, in the text format of metrics, up to the quote before the
// value. These texts cannot occur inside a value, because quotes in values are escaped.
var pathLabels = [][]byte{[]byte(`http_route="`), []byte(`url_template="`), []byte(`url_path="`), []byte(`path="`), []byte(`route="`), []byte(`mark="`)}

// anyPath is the value of these labels in the public metrics.
const anyPath = "(all)"

// addUpPaths replaces series that differ only in a path with their sum. This is correct because all metrics with paths are counters or
// histograms. For marks, there is only one series of each kind.
func addUpPaths(text []byte) []byte {
	out := make([]byte, 0, len(text))
	sums := map[string]float64{} // sums of consecutive series; the series of a family are consecutive
	var order []string
	flush := func() {
		for _, series := range order {
			out = append(append(out, series...), ' ')
			out = append(strconv.AppendFloat(out, sums[series], 'g', -1, 64), '\n')
		}
		clear(sums)
		order = order[:0]
	}
	for line := range bytes.Lines(text) {
		series, value, ok := withoutPath(line)
		if !ok {
			flush()
			out = append(out, line...)
			continue
		}
		if series == "" {
			continue
		}
		if _, known := sums[series]; !known {
			order = append(order, series)
		}
		sums[series] += value
	}
	flush()
	return out
}

// withoutPath returns the series of a line, with its path replaced by anyPath, and its value. ok is false if the line
// has no path.
func withoutPath(line []byte) (series string, value float64, ok bool) {
	if line[0] == '#' {
		return "", 0, false
	}
	for _, label := range pathLabels {
		before, rest, found := bytes.Cut(line, label)
		if !found {
			continue
		}
		end := 0
		for end < len(rest) && rest[end] != '"' {
			if rest[end] == '\\' {
				end++
			}
			end++
		}
		last := bytes.LastIndexByte(rest, ' ')
		if end >= len(rest) || last < end {
			return "", 0, true // malformed: omit it
		}
		value, _ = strconv.ParseFloat(string(bytes.TrimSpace(rest[last:])), 64)
		return string(before) + string(label) + anyPath + string(rest[end:last]), value, true
	}
	return "", 0, false
}

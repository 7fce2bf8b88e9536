package admin

import (
	"bytes"
	"strconv"
)

// pathLabels are labels whose values name what an application serves, as they begin in the text of metrics. A value cannot
// look like one: quotes in it are escaped.
var pathLabels = [][]byte{[]byte(`http_route="`), []byte(`url_template="`), []byte(`url_path="`), []byte(`path="`), []byte(`route="`)}

// anyPath is what such a label says in the metrics that everyone may see.
const anyPath = "(all)"

// addUpPaths returns a text of metrics in which series that differ in a path only are one, their sum. Sums are right for
// counters and histograms, which all metrics of paths are.
func addUpPaths(text []byte) []byte {
	out := make([]byte, 0, len(text))
	sums := map[string]float64{} // of the series that stand together; a family's do
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

// withoutPath returns a line's series with its path left out, and its value. ok is false if it names none.
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
			return "", 0, true // not as metrics are written: nobody's to see
		}
		value, _ = strconv.ParseFloat(string(bytes.TrimSpace(rest[last:])), 64)
		return string(before) + string(label) + anyPath + string(rest[end:last]), value, true
	}
	return "", 0, false
}

package paths

import (
	"bytes"
	"strings"
)

// configuredTemplate is a path pattern of the configuration (paths.templates), split into segments.
type configuredTemplate struct {
	text     string
	segments []segmentPattern
}

type segmentPattern struct {
	deep bool   // "**": any number of segments
	any  bool   // "{name}" or "*": one segment; not empty
	text []byte // otherwise: a glob if wild is set, else a literal
	wild bool
}

func parseTemplate(text string) (configuredTemplate, error) {
	switch {
	case !strings.HasPrefix(text, "/"):
		return configuredTemplate{}, templateError(text, "must start with /")
	case len(text) > LabelBytesMax:
		return configuredTemplate{}, templateError(text, "is longer than 256 bytes")
	case strings.ContainsAny(text, "?#\x00"):
		return configuredTemplate{}, templateError(text, "must not contain ? or #: queries are not recorded")
	}
	t := configuredTemplate{text: text}
	for _, part := range strings.Split(text[1:], "/") {
		p := segmentPattern{text: []byte(part)}
		switch open, closed := strings.Count(part, "{"), strings.Count(part, "}"); {
		case part == "**":
			p.deep = true
		case strings.Contains(part, "**"):
			return configuredTemplate{}, templateError(text, "** must be a whole segment")
		case part == "*":
			p.any = true
		case open == 0 && closed == 0:
			p.wild = strings.Contains(part, "*")
		case open == 1 && closed == 1 && part[0] == '{' && part[len(part)-1] == '}' && len(part) > 2:
			p.any = true
		default:
			return configuredTemplate{}, templateError(text, "a {name} must be a whole segment with a name")
		}
		t.segments = append(t.segments, p)
	}
	return t, nil
}

// match reports whether the template matches the path. It backtracks only to the last "**", so the cost is at most proportional to the
// product of the two lengths.
func (t *configuredTemplate) match(path []byte) bool {
	if path[0] != '/' {
		return false
	}
	rest, more := path[1:], true
	i := 0
	deepAt, deepRest := -1, []byte(nil) // where to continue if the segments after the last ** do not match
	for more {
		if i < len(t.segments) && t.segments[i].deep {
			deepAt, deepRest = i, rest
			i++
			if i == len(t.segments) {
				return true
			}
			continue
		}
		segment, after, found := bytes.Cut(rest, []byte{'/'})
		if i < len(t.segments) && t.segments[i].fits(segment) {
			rest, more = after, found
			i++
			if more || i == len(t.segments) || t.onlyDeepFrom(i) {
				continue
			}
		}
		if deepAt < 0 {
			return false
		}
		// The ** matches one more segment.
		_, after, found = bytes.Cut(deepRest, []byte{'/'})
		deepRest, rest, more = after, after, found
		i = deepAt + 1
	}
	return i == len(t.segments) || t.onlyDeepFrom(i)
}

// onlyDeepFrom reports whether the segments from i on match an empty path.
func (t *configuredTemplate) onlyDeepFrom(i int) bool {
	for ; i < len(t.segments); i++ {
		if !t.segments[i].deep {
			return false
		}
	}
	return true
}

func (p *segmentPattern) fits(segment []byte) bool {
	switch {
	case p.any:
		return len(segment) > 0
	case p.wild:
		return glob(p.text, segment)
	default:
		return bytes.Equal(p.text, segment)
	}
}

// glob matches text against a pattern in which "*" matches any characters.
func glob(pattern, text []byte) bool {
	p, t, star, mark := 0, 0, -1, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, t
			p++
		case p < len(pattern) && pattern[p] == text[t]:
			p++
			t++
		case star >= 0:
			mark++
			p, t = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

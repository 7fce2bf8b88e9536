package pathbench

import (
	"strconv"
	"strings"
)

// Score counts requests by template and label. The zero value is ready for use.
type Score struct {
	templates map[string]int // method and template → index
	labels    map[string]int // method and label → index
	truth     []string       // method and template by index
	given     []string
	noise     map[int]int    // label → number of scanner requests
	pairs     map[[2]int]int // template, label → number of requests
}

// Add adds a request and its label.
func (s *Score) Add(r Request, label string) {
	if s.templates == nil {
		s.templates, s.labels = map[string]int{}, map[string]int{}
		s.noise, s.pairs = map[int]int{}, map[[2]int]int{}
	}
	given := number(s.labels, &s.given, r.Method+" "+label)
	if r.Template == "" {
		s.noise[given]++
		return
	}
	s.pairs[[2]int{number(s.templates, &s.truth, r.Method+" "+r.Template), given}]++
}

func number(of map[string]int, list *[]string, name string) int {
	n, known := of[name]
	if !known {
		n = len(*list)
		of[name] = n
		*list = append(*list, name)
	}
	return n
}

// Result measures the quality of labels. Shares are of real requests, from 0 to 1.
type Result struct {
	Requests, Templates int     // number of real requests, and of templates with at least one request
	Exact               float64 // requests under exactly their template
	ExactTemplates      float64 // mean of Exact over the templates
	Over                float64 // requests under a label that belongs mostly to another template
	Under               float64 // requests that are not under the label of most requests of their template
	Other               float64 // requests under (other)
	Rows                int     // labels that are shown, including those of noise
	NoiseRows           int     // labels that have only noise
}

// Result evaluates the score. final returns the label under which a row is shown at the end. Methods are part of rows.
func (s *Score) Result(final func(label string) string) Result {
	shown := make([]string, len(s.given))
	rows, real := map[string]bool{}, map[string]bool{}
	for i, given := range s.given {
		method, label, _ := strings.Cut(given, " ")
		shown[i] = method + " " + Plain(final(label))
		rows[shown[i]] = true
	}
	type key struct {
		template int
		label    string
	}
	perPair, perLabel, perTemplate := map[key]int{}, map[string]map[int]int{}, make([]int, len(s.truth))
	for pair, n := range s.pairs {
		label := shown[pair[1]]
		real[label] = true
		perPair[key{pair[0], label}] += n
		if perLabel[label] == nil {
			perLabel[label] = map[int]int{}
		}
		perLabel[label][pair[0]] += n
		perTemplate[pair[0]] += n
	}
	r := Result{Templates: len(s.truth), Rows: len(rows), NoiseRows: len(rows) - len(real)}
	exact, over, under, other, templates := 0, 0, 0, 0, 0.0
	most := make([]int, len(s.truth))
	for k, n := range perPair {
		most[k.template] = max(most[k.template], n)
	}
	for k, n := range perPair {
		switch {
		case k.label == s.truth[k.template]:
			exact += n
			templates += float64(n) / float64(perTemplate[k.template])
		case strings.HasSuffix(k.label, " (other)"):
			other += n
		default:
			for t, m := range perLabel[k.label] {
				if t != k.template && (m > n || s.truth[t] == k.label) {
					over += n
					break
				}
			}
		}
		if n < most[k.template] {
			under += n
		}
	}
	for _, n := range perTemplate {
		r.Requests += n
	}
	total := float64(max(r.Requests, 1))
	r.Exact, r.Over, r.Under, r.Other = float64(exact)/total, float64(over)/total, float64(under)/total, float64(other)/total
	r.ExactTemplates = templates / float64(max(r.Templates, 1))
	return r
}

// Plain replaces each placeholder with "{}".
func Plain(label string) string {
	var out strings.Builder
	for {
		open := strings.IndexByte(label, '{')
		if open < 0 {
			break
		}
		end := strings.IndexByte(label[open:], '}')
		if end < 0 {
			break
		}
		out.WriteString(label[:open] + "{}")
		label = label[open+end+1:]
	}
	return out.String() + label
}

// Misses lists the templates with the most requests under wrong labels, at most n of them and worst first, each with
// its most frequent wrong label.
func (s *Score) Misses(n int, final func(label string) string) []string {
	type miss struct {
		count int
		label string
		worst int
	}
	of := make([]miss, len(s.truth))
	for pair, count := range s.pairs {
		method, label, _ := strings.Cut(s.given[pair[1]], " ")
		label = method + " " + Plain(final(label))
		if label == s.truth[pair[0]] {
			continue
		}
		m := &of[pair[0]]
		m.count += count
		if count > m.worst {
			m.worst, m.label = count, label
		}
	}
	var out []string
	for len(out) < n {
		at := -1
		for i := range of {
			if of[i].count > 0 && (at < 0 || of[i].count > of[at].count) {
				at = i
			}
		}
		if at < 0 {
			break
		}
		out = append(out, strings.Join([]string{whole(of[at].count), s.truth[at], "→", of[at].label}, " "))
		of[at].count = 0
	}
	return out
}

func whole(n int) string { return strconv.Itoa(n) }

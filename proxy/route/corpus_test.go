package route

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the results of nginx and Caddy into testdata/corpus.txt")

// The corpus is testdata/corpus.txt. Its format is described at its beginning.

type corpusList struct {
	name   string
	routes []string // names
	lines  []string // of the routes
	list   []Conditions
	cases  []*corpusCase
}

type corpusCase struct {
	line    int
	text    string // the request as written
	method  string
	path    string
	host    string
	headers []Header
	want    string            // name of a route, "none" or "refused"
	others  map[string]string // server → result and reason: "admin N1"
}

const corpusFile = "testdata/corpus.txt"

// readCorpus returns the lists, the reasons by their number, and the comment at the beginning.
func readCorpus(t testing.TB) (lists []*corpusList, reasons map[string]string, head string) {
	t.Helper()
	f, err := os.Open(corpusFile)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	reasons = map[string]string{}
	var l *corpusList
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		word, rest, _ := strings.Cut(line, " ")
		switch {
		case line == "":
		case strings.HasPrefix(line, "#"):
			head += line + "\n"
		case word == "REASON":
			number, text, _ := strings.Cut(rest, " ")
			reasons[number] = text
		case word == "LIST":
			l = &corpusList{name: rest}
			lists = append(lists, l)
		case word == "ROUTE":
			l.lines = append(l.lines, line)
			name, c := parseRoute(t, n, rest)
			l.routes, l.list = append(l.routes, name), append(l.list, c)
		default:
			l.cases = append(l.cases, parseCase(t, n, line))
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return lists, reasons, head
}

func parseRoute(t testing.TB, line int, text string) (name string, c Conditions) {
	words := strings.Fields(text)
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "host":
			c.Host = value
		case "path":
			c.Path = value
		case "methods":
			c.Methods = strings.Split(value, ",")
		case "header":
			name, value, _ := strings.Cut(value, ":")
			c.Headers = append(c.Headers, Header{name, value})
		default:
			t.Fatalf("%s:%d: unknown condition %q", corpusFile, line, word)
		}
	}
	return words[0], c
}

func parseCase(t testing.TB, line int, text string) *corpusCase {
	columns := strings.Split(text, "\t")
	c := &corpusCase{line: line, text: columns[0], method: "GET", host: "example.org", others: map[string]string{}}
	for _, word := range strings.Fields(columns[0]) {
		key, value, found := strings.Cut(word, "=")
		switch {
		case word[0] == '/' || word == "*":
			c.path = word
		case key == "host":
			c.host = value
		case key == "header":
			name, value, _ := strings.Cut(value, ":")
			c.headers = append(c.headers, Header{name, value})
		case !found:
			c.method = word
		}
	}
	if len(columns) < 2 || c.path == "" {
		t.Fatalf("%s:%d: no request and result", corpusFile, line)
	}
	c.want = columns[1]
	for _, column := range columns[2:] {
		server, result, _ := strings.Cut(column, "=")
		c.others[server] = result
	}
	return c
}

// message is the request as it is sent.
func (c *corpusCase) message() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n", c.method, c.path, c.host)
	b.WriteString(c.fields())
	if c.method == "POST" || c.method == "PATCH" {
		b.WriteString("Content-Length: 0\r\n")
	}
	return b.String() + "\r\n"
}

func (c *corpusCase) fields() string {
	var b strings.Builder
	for _, h := range c.headers {
		fmt.Fprintf(&b, "%s: %s\r\n", h.Name, h.Value)
	}
	return b.String()
}

func (c *corpusCase) request() *Request {
	path, _, _ := strings.Cut(c.path, "?")
	return &Request{Method: []byte(c.method), Host: []byte(c.host), Path: []byte(path), Fields: []byte(c.fields())}
}

// result names what Match found.
func (l *corpusList) result(index int, err error) string {
	switch {
	case err != nil:
		return "refused"
	case index == None:
		return "none"
	}
	return l.routes[index]
}

func TestCorpus(t *testing.T) {
	lists, _, _ := readCorpus(t)
	s, cases := &Scratch{}, 0
	for _, l := range lists {
		list, err := New(l.list)
		if err != nil {
			t.Fatalf("%s: %v", l.name, err)
		}
		for _, c := range l.cases {
			cases++
			if got := l.result(list.Match(c.request(), s)); got != c.want {
				t.Errorf("%s:%d: %s: %s: got %s, want %s", corpusFile, c.line, l.name, c.text, got, c.want)
			}
		}
	}
	if len(lists) < 20 || cases < 200 {
		t.Errorf("%d lists and %d requests; the corpus has at least 20 and 200", len(lists), cases)
	}
}

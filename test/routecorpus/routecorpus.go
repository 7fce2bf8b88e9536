// Package routecorpus contains requests that try to reach a route that they should not reach, each with the route that it must get. Tests
// send them to the route matching itself, to the proxy, to nginx and to Caddy. The beginning of corpus.txt describes its format.
package routecorpus

import (
	_ "embed"
	"fmt"
	"strings"
)

//go:embed corpus.txt
var text string

// File is the path of the corpus below the root of the repository.
const File = "test/routecorpus/corpus.txt"

// Results that are not the name of a route.
const (
	None    = "none"    // no route matches: 404
	Refused = "refused" // 400
)

// Corpus is the content of the file.
type Corpus struct {
	Head    string            // comment at its beginning
	Reasons map[string]string // reasons why results of other servers differ, by number
	Lists   []*List
}

// List is a list of routes, with requests that are matched against it.
type List struct {
	Name   string
	Routes []Route
	Cases  []*Case
}

// Route has a name and conditions.
type Route struct {
	Text             string // text in the file
	Name, Host, Path string
	Methods          []string
	Headers          [][2]string // name and value
}

// Case is a request with the name of its route.
type Case struct {
	Line    int    // line number in the file
	Text    string // text of the request in the file
	Method  string
	Target  string
	Host    string
	Headers [][2]string
	Want    string
	Others  map[string]string // server → result and number of the reason, if the server's result differs
}

// Load parses the corpus.
func Load() (*Corpus, error) {
	c := &Corpus{Reasons: map[string]string{}}
	var l *List
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		word, rest, _ := strings.Cut(line, " ")
		switch {
		case line == "":
		case strings.HasPrefix(line, "#"):
			c.Head += line + "\n"
		case word == "REASON":
			number, reason, _ := strings.Cut(rest, " ")
			c.Reasons[number] = reason
		case word == "LIST":
			l = &List{Name: rest}
			c.Lists = append(c.Lists, l)
		case word == "ROUTE":
			r, err := parseRoute(rest)
			if err != nil {
				return nil, fmt.Errorf("%s:%d: %w", File, i+1, err)
			}
			l.Routes = append(l.Routes, r)
		default:
			k := parseCase(line)
			k.Line = i + 1
			if k.Target == "" || k.Want == "" {
				return nil, fmt.Errorf("%s:%d: no request and result in %q", File, i+1, line)
			}
			l.Cases = append(l.Cases, k)
		}
	}
	return c, nil
}

func parseRoute(text string) (Route, error) {
	words := strings.Fields(text)
	r := Route{Text: text, Name: words[0]}
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "host":
			r.Host = value
		case "path":
			r.Path = value
		case "methods":
			r.Methods = strings.Split(value, ",")
		case "header":
			name, value, _ := strings.Cut(value, ":")
			r.Headers = append(r.Headers, [2]string{name, value})
		default:
			return r, fmt.Errorf("unknown condition %q", word)
		}
	}
	return r, nil
}

func parseCase(line string) *Case {
	columns := strings.Split(line, "\t")
	c := &Case{Text: columns[0], Method: "GET", Host: "example.org", Others: map[string]string{}}
	for _, word := range strings.Fields(columns[0]) {
		key, value, found := strings.Cut(word, "=")
		switch {
		case word[0] == '/' || word == "*":
			c.Target = word
		case key == "host":
			c.Host = value
		case key == "header":
			name, value, _ := strings.Cut(value, ":")
			c.Headers = append(c.Headers, [2]string{name, value})
		case !found:
			c.Method = word
		}
	}
	for i, column := range columns[1:] {
		if i == 0 {
			c.Want = column
			continue
		}
		server, result, _ := strings.Cut(column, "=")
		c.Others[server] = result
	}
	return c
}

// Fields returns the fields of the request to which conditions refer, each followed by CRLF.
func (c *Case) Fields() string {
	var b strings.Builder
	for _, h := range c.Headers {
		fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
	}
	return b.String()
}

// Message returns the text of the request, which asks the server to close the connection afterwards.
func (c *Case) Message() string {
	length := ""
	if c.Method == "POST" || c.Method == "PATCH" {
		length = "Content-Length: 0\r\n"
	}
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%s%s\r\n", c.Method, c.Target, c.Host, c.Fields(), length)
}

// String returns the content of the file. servers are the names of other servers, in the order of their columns.
func (c *Corpus) String(servers ...string) string {
	var b strings.Builder
	b.WriteString(c.Head + "\n")
	for i := 1; i <= len(c.Reasons); i++ {
		number := fmt.Sprintf("R%02d", i)
		fmt.Fprintf(&b, "REASON %s %s\n", number, c.Reasons[number])
	}
	for _, l := range c.Lists {
		fmt.Fprintf(&b, "\nLIST %s\n", l.Name)
		for _, r := range l.Routes {
			fmt.Fprintf(&b, "ROUTE %s\n", r.Text)
		}
		for _, k := range l.Cases {
			fmt.Fprintf(&b, "%s\t%s", k.Text, k.Want)
			for _, server := range servers {
				if result := k.Others[server]; result != "" {
					fmt.Fprintf(&b, "\t%s=%s", server, result)
				}
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

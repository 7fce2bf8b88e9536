package terminal

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/internal/event"
)

// Event holds the fields of a raw event that are shown.
type Event struct {
	Time      time.Time `json:"ts"`
	Method    string    `json:"http_request_method"`
	Path      string    `json:"url_path"`
	Template  string    `json:"url_template"`
	Status    int       `json:"http_response_status_code"`
	Duration  uint64    `json:"duration_us"`
	BytesOut  uint64    `json:"http_response_body_size"`
	Host      string    `json:"server_address"`
	ErrorType string    `json:"error_type"`
	Route     string    `json:"route"`
	GRPC      *int      `json:"rpc_grpc_status_code"`
}

// TailOptions configure Tail.
type TailOptions struct {
	Out    io.Writer
	Notice io.Writer // receives messages about missed events
	JSON   bool      // one object per line, as in the API, instead of columns
	Color  bool
}

// lineBytesMax limits the size of one event. Events from the API have at most a few kilobytes.
const lineBytesMax = 1 << 20

// Tail shows the server-sent events of GET /api/v1/tail line by line, until the stream ends.
func Tail(stream io.Reader, o TailOptions) error {
	lines := bufio.NewScanner(stream)
	lines.Buffer(make([]byte, 64<<10), lineBytesMax)
	name := ""
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch {
		case field == "event":
			name = value
		case field != "data":
		case name == "missed":
			fmt.Fprintf(o.Notice, "wayside: %s events came too fast to be shown, but are in the books\n", Safe(value))
		case name == "event":
			if err := o.show(value); err != nil {
				return err
			}
		}
	}
	return lines.Err()
}

func (o *TailOptions) show(line string) error {
	if o.JSON {
		_, err := fmt.Fprintln(o.Out, line)
		return err
	}
	var e Event
	if err := json.Unmarshal([]byte(line), &e); err != nil {
		return fmt.Errorf("read an event: %w", err)
	}
	_, err := fmt.Fprintln(o.Out, e.columns(o.Color))
	return err
}

// columns formats the event as a line: time, status, duration, bytes, method, host and path, error.
func (e *Event) columns(color bool) string {
	path := e.Path
	if path == "" {
		path = e.Template // with paths.raw: off, the event has no path
	}
	line := fmt.Sprintf("%s  %s  %8s  %8s  %-6s %s%s", e.Time.Local().Format("15:04:05.000"),
		paint(color, statusColor(e.Status), fmt.Sprintf("%3d", e.Status)), duration(e.Duration), size(e.BytesOut), Safe(e.Method), Safe(e.Host), Safe(path))
	if e.Route != "" {
		line += "  " + paint(color, faint, "route "+Safe(e.Route))
	}
	if e.GRPC != nil {
		line += "  " + paint(color, grpcColor(*e.GRPC), event.GRPCName(*e.GRPC))
	}
	if e.ErrorType != "" {
		line += "  " + paint(color, red, Safe(e.ErrorType))
	}
	return line
}

// SGR parameters.
const (
	bold    = "1"
	faint   = "2"
	reverse = "7"
	red     = "31"
	green   = "32"
	yellow  = "33"
	cyan    = "36"
)

func grpcColor(code int) string {
	switch {
	case event.GRPCOf(code).IsError():
		return red
	case code != 0:
		return yellow
	}
	return green
}

func statusColor(status int) string {
	switch {
	case status >= 500:
		return red
	case status >= 400:
		return yellow
	case status >= 300:
		return cyan
	}
	return green
}

func paint(on bool, sgr, text string) string {
	if !on || sgr == "" {
		return text
	}
	return "\x1b[" + sgr + "m" + text + "\x1b[0m"
}

func statusOf(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return n
}

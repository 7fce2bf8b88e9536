package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// GoAccess's names of the log formats.
const (
	formatCombined = "COMBINED"
	formatJSON     = `{"time_iso8601":"%dT%t+%^","remote_addr":"%h","request_method":"%m","request_uri":"%U","status":"%s","body_bytes_sent":"%b","request_time":"%T","host":"%v","http_user_agent":"%u"}`
)

// counts holds the figures that both programs compute.
type counts struct {
	total, bytes uint64
	status       map[string]uint64
	hours        map[string]uint64 // by hour of the day
	paths        map[string]uint64 // some
}

// panel is one section of GoAccess's report.
type panel struct {
	Data []struct {
		Hits  struct{ Count uint64 }
		Data  string
		Items []struct {
			Hits struct{ Count uint64 }
			Data string
		}
	}
}

// goAccess counts the responses in a log with GoAccess.
func goAccess(ctx context.Context, log, format string) (*counts, error) {
	report := log + ".report.json"
	args := []string{log, "--no-global-config", "--log-format=" + format, "-o", report, "--no-query-string", "--max-items=1000000", "--no-progress", "--tz=UTC"}
	if format == formatJSON {
		args = append(args, "--date-format=%Y-%m-%d", "--time-format=%T")
	}
	cmd := exec.CommandContext(ctx, "goaccess", args...)
	cmd.Stdin = nil
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("goaccess: %w: %s (Debian: apt-get install goaccess)", err, out)
	}
	text, err := os.ReadFile(report)
	if err != nil {
		return nil, err
	}
	var r struct {
		General struct {
			Total  uint64 `json:"total_requests"`
			Valid  uint64 `json:"valid_requests"`
			Failed uint64 `json:"failed_requests"`
			Bytes  uint64 `json:"bandwidth"`
		} `json:"general"`
		Requests panel `json:"requests"`
		Static   panel `json:"static_requests"`
		NotFound panel `json:"not_found"`
		Status   panel `json:"status_codes"`
		Times    panel `json:"visit_time"`
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("report of goaccess: %w", err)
	}
	if r.General.Failed > 0 || r.General.Total == 0 {
		return nil, fmt.Errorf("goaccess could not read %d of %d lines", r.General.Failed, r.General.Total)
	}
	c := &counts{total: r.General.Total, bytes: r.General.Bytes, status: map[string]uint64{}, hours: map[string]uint64{}, paths: map[string]uint64{}}
	for _, class := range r.Status.Data {
		for _, item := range class.Items {
			code, _, _ := strings.Cut(item.Data, " ")
			c.status[code] += item.Hits.Count
		}
	}
	for _, hour := range r.Times.Data {
		c.hours[hour.Data] += hour.Hits.Count
	}
	for _, p := range []panel{r.Requests, r.Static, r.NotFound} {
		for _, one := range p.Data {
			c.paths[template(one.Data)] += one.Hits.Count
		}
	}
	if len(c.status) == 0 || len(c.hours) == 0 || len(c.paths) == 0 {
		return nil, errors.New("goaccess reports no statuses, hours or paths")
	}
	return c, nil
}

// template is the template of a path of the load.
func template(path string) string {
	for _, prefix := range []string{"/api/users/", "/api/orders/"} {
		if strings.HasPrefix(path, prefix) {
			return prefix + "{id}"
		}
	}
	return path
}

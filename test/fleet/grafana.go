package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"
)

// grafanaPanels runs the SQL of every panel of the dashboard, after replacing Grafana's macros in the same way as Grafana's plugin, and
// compares the results with the figures of the instances.
func (p *proof) grafanaPanels(e *engine) error {
	text, err := os.ReadFile("configs/grafana-fleet.json")
	if err != nil {
		return err
	}
	var d struct {
		Panels []struct {
			Title   string
			Targets []struct{ RawSQL string }
		}
		Templating struct {
			List []struct{ Name, Query string }
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		return err
	}
	services := ""
	for _, v := range d.Templating.List {
		if v.Name != "service" {
			continue
		}
		rows, err := e.query(v.Query)
		if err != nil {
			return err
		}
		for _, r := range rows {
			services += ",'" + r.text("service") + "'"
		}
	}
	from, to := grafanaTime(time.Now().Add(-24*time.Hour)), grafanaTime(time.Now().Add(time.Minute))
	macros := strings.NewReplacer("$__fromTime", from, "$__toTime", to, "${service:singlequote}", strings.TrimPrefix(services, ","))
	for _, panel := range d.Panels {
		for _, t := range panel.Targets {
			sql := macros.Replace(timeFilter.ReplaceAllString(t.RawSQL, "$1 >= "+from+" AND $1 <= "+to))
			rows, err := e.query(sql)
			if err != nil {
				return fmt.Errorf("panel %s: %w", panel.Title, err)
			}
			sum := uint64(0)
			for _, r := range rows {
				sum += r.number("responses")
			}
			switch panel.Title {
			case "Responses", "Responses per minute", "Paths with the most responses", "Slow paths":
				if sum != p.responses {
					return fmt.Errorf("panel %s adds up to %d, want %d", panel.Title, sum, p.responses)
				}
			case "Responses that were not recorded":
				if sum != p.dropped {
					return fmt.Errorf("panel %s adds up to %d, want %d", panel.Title, sum, p.dropped)
				}
			case "Instances that went silent":
				continue
			}
			if len(rows) == 0 {
				return fmt.Errorf("panel %s is empty", panel.Title)
			}
		}
	}
	if len(d.Panels) < 10 {
		return errors.New("the dashboard lacks panels")
	}
	return nil
}

var timeFilter = regexp.MustCompile(`\$__timeFilter\((\w+)\)`)

func grafanaTime(t time.Time) string { return fmt.Sprintf("toDateTime(%d)", t.Unix()) }

// Package report writes the results of commands as text for people. Text that others can influence, such as the names
// of objects, is made safe for the terminal.
package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/wayside-proxy/wayside/collector"
	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/terminal"
	"github.com/wayside-proxy/wayside/internal/verify"
	"github.com/wayside-proxy/wayside/process/books/restore"
	"github.com/wayside-proxy/wayside/process/doctor"
	"github.com/wayside-proxy/wayside/process/traffic"
	"github.com/wayside-proxy/wayside/uploader/reader"
)

// Checks writes the result of `wayside verify`.
func Checks(w io.Writer, r *verify.Report) {
	for _, c := range r.Checks {
		state := "ok"
		switch {
		case c.Found > 0:
			state = fmt.Sprintf("%d PROBLEMS", c.Found)
		case c.NotMade > 0:
			state = fmt.Sprintf("%d NOT CHECKED", c.NotMade)
		case c.Skipped != "" && c.Checked == 0:
			state = "skipped"
		}
		fmt.Fprintf(w, "%-26s %10d %-9s %s\n", c.Name, c.Checked, c.Of, state)
		if c.Skipped != "" {
			fmt.Fprintf(w, "    skipped: %s\n", terminal.Safe(c.Skipped))
		}
		for _, p := range c.Unmade {
			fmt.Fprintf(w, "    not checked: %s\n", terminal.Safe(p))
		}
		if more := c.NotMade - uint64(len(c.Unmade)); more > 0 {
			fmt.Fprintf(w, "    and %d more not checked\n", more)
		}
		for _, p := range c.Problems {
			fmt.Fprintf(w, "    %s\n", terminal.Safe(p))
		}
		if more := c.Found - uint64(len(c.Problems)); more > 0 {
			fmt.Fprintf(w, "    and %d more\n", more)
		}
	}
	fmt.Fprintln(w, verdict(r))
}

// verdict is the last line of the report. It counts the reports of losses, which are not a current problem.
func verdict(r *verify.Report) string {
	var problems, unmade, skipped, losses uint64
	for _, c := range r.Checks {
		problems, unmade, losses = problems+c.Found, unmade+c.NotMade, losses+c.Losses
		if c.Skipped != "" && c.Checked == 0 && c.Found == 0 && c.NotMade == 0 {
			skipped++
		}
	}
	text := fmt.Sprintf("verify: %d checks", uint64(len(r.Checks))-skipped)
	if skipped > 0 {
		text += fmt.Sprintf(" (%d skipped)", skipped)
	}
	switch {
	case problems > 0 && unmade > 0:
		text += fmt.Sprintf(", problems: %d, not checked: %d", problems, unmade)
	case problems > 0:
		text += fmt.Sprintf(", problems: %d", problems)
	case unmade > 0:
		text += fmt.Sprintf(", not checked: %d", unmade)
	default:
		text += ", all as promised"
	}
	if losses > 0 {
		text += fmt.Sprintf("; reports of earlier losses: %d (see quarantine above)", losses)
	}
	return text
}

// Findings writes the result of `wayside doctor`.
func Findings(out io.Writer, findings []doctor.Finding) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, f := range findings {
		fmt.Fprintf(w, "%s\t%s\t%s\n", f.State, f.Check, terminal.Safe(f.Found))
		if f.Advice != "" {
			fmt.Fprintf(w, "\t\t→ %s\n", terminal.Safe(f.Advice))
		}
	}
	return w.Flush()
}

// Capacity writes the capacity report as a table.
func Capacity(out io.Writer, c *collector.Capacity) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	perDay := func(folder string) string {
		if c.GrowthPerDay == nil {
			return "-"
		}
		return fmt.Sprintf("%+d", c.GrowthPerDay[folder])
	}
	fmt.Fprintln(w, "FOLDER\tBYTES\tPER DAY\t")
	for _, folder := range slices.Sorted(maps.Keys(c.Bytes)) {
		fmt.Fprintf(w, "%s\t%d\t%s\t\n", folder, c.Bytes[folder], perDay(folder))
	}
	fmt.Fprintf(w, "total\t%d\t%s\t\n", c.BytesTotal, perDay("total"))
	fmt.Fprintln(w, "\t\t\t\nEVENTS\tCOUNT\t\t")
	for _, count := range slices.Sorted(maps.Keys(c.Counts)) {
		fmt.Fprintf(w, "%s\t%d\t\t\n", count, c.Counts[count])
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "limit: %d bytes (data.bytes_max); free on the filesystem: %d bytes, of which %d must stay free (data.free_min)\n", c.BytesMax, c.FreeBytes, c.FreeMin)
	switch {
	case c.DaysLeft != nil:
		fmt.Fprintf(out, "%s is reached in %.1f days at this growth\n", c.Limit, *c.DaysLeft)
	case c.GrowthPerDay == nil:
		fmt.Fprintln(out, "the growth is not known yet: that takes two reports at least an hour apart")
	default:
		fmt.Fprintln(out, "no growth")
	}
	return nil
}

// Forgotten writes what has been forgotten or, if count is set, what would be forgotten.
func Forgotten(out io.Writer, a *admin.ForgetAnswer, count bool) error {
	verb := "forgotten"
	if count {
		verb = "would be forgotten"
	}
	if a.Names == 0 && a.Events == 0 && len(a.Objects) == 0 {
		fmt.Fprint(out, "nothing matched; ")
	}
	fmt.Fprintf(out, "%s: %d rows (%d row-hours) with %d responses, now counted under (other); paths of %d local events\n",
		verb, a.Names, a.Hours, a.Responses, a.Events)
	for _, problem := range a.Left {
		fmt.Fprintf(out, "left: %s\n", terminal.Safe(problem))
	}
	if len(a.Objects) == 0 && a.ObjectsUnknown == 0 {
		fmt.Fprintln(out, "archive: no object contains the paths")
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	held := 0 // objects that contain the paths and whose events are still in the store
	for _, o := range a.Objects {
		if o.Holds == "certain" {
			held++
		}
		fmt.Fprintf(w, "archive\t%s\t%s\n", holdsText(o), terminal.Safe(o.Key))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if held > 0 {
		fmt.Fprintf(out, "archive: %s with the paths; --archive rewrites those objects whose events are all still in the store\n", terminal.Counted(held, "object"))
	}
	if a.ObjectsUnknown > 0 {
		fmt.Fprintf(out, "archive: %d more objects are older than the events in the store and may contain the paths; search them with wayside archive cat\n", a.ObjectsUnknown)
	}
	return nil
}

func holdsText(o catalogue.ForgottenObject) string {
	switch o.Holds {
	case "reopened":
		return "will be rewritten without the paths"
	case "possible":
		return "may contain the paths"
	}
	return "CONTAINS THE PATHS"
}

// Unreadable writes why objects could not be read. It returns an error with the number of these objects.
func Unreadable(w io.Writer, problems []reader.Problem) error {
	for i, p := range problems {
		if i == problemsMax {
			fmt.Fprintf(w, "and %d more\n", len(problems)-i)
			break
		}
		fmt.Fprintln(w, terminal.Safe(p.String()))
	}
	if len(problems) > 0 {
		return fmt.Errorf("the result is incomplete: %s of the archive missing or damaged", terminal.Counted(len(problems), "object"))
	}
	return nil
}

// problemsMax limits the number of objects that are named.
const problemsMax = 100

// Repeated writes which responses were not counted because they are also in other objects.
func Repeated(out io.Writer, repeated []reader.Repeated) {
	n := uint64(0)
	for i, r := range repeated {
		n += r.Responses
		if i < problemsMax {
			fmt.Fprintf(out, "%s: %d of its %d responses are in other objects too\n", terminal.Safe(r.Key), r.Responses, r.Of)
		}
	}
	if len(repeated) > 0 {
		fmt.Fprintf(out, "left out: %s of %s, because other objects have them too; each event counts only once\n", terminal.Counted(n, "response"), terminal.Counted(len(repeated), "object"))
	}
}

// Archive writes the result of `wayside archive verify`.
func Archive(out io.Writer, r *reader.Report) {
	for _, p := range r.Problems {
		fmt.Fprintln(out, terminal.Safe(p.String()))
	}
	lines := ""
	if !r.Quick {
		lines = " in " + terminal.Counted(r.Lines, "line")
	}
	fmt.Fprintf(out, "%s, %s, %s%s, %s; %d in the catalogue, %d of others, %s open",
		terminal.Counted(r.Objects, "object"), terminal.Counted(r.Bytes, "byte"), terminal.Counted(r.Rows, "row"), lines, terminal.Counted(r.Epochs, "epoch"),
		r.Known, r.Foreign, terminal.Counted(r.Open, "plan"))
	if r.Former > 0 {
		fmt.Fprintf(out, "; and %s in former archives", terminal.Counted(r.Former, "object"))
	}
	fmt.Fprint(out, ": ")
	if len(r.Problems) == 0 {
		fmt.Fprintln(out, "all as it should be")
	} else {
		fmt.Fprintln(out, terminal.Counted(len(r.Problems), "problem"))
	}
}

// Reloaded writes when the changed keys take effect.
func Reloaded(out io.Writer, r *traffic.Reloaded) error {
	said := false
	for _, l := range []struct {
		what string
		keys []string
	}{
		{"in effect", r.Traffic}, {"the books process restarts with", r.Books}, {"unchanged until wayside run is restarted", r.Restart},
	} {
		if len(l.keys) == 0 {
			continue
		}
		said = true
		if _, err := fmt.Fprintf(out, "%s: %s\n", l.what, strings.Join(l.keys, ", ")); err != nil {
			return err
		}
	}
	if said {
		return nil
	}
	_, err := fmt.Fprintln(out, "nothing has changed")
	return err
}

// Rebuilt writes the result of `wayside archive rebuild`.
func Rebuilt(out io.Writer, d *restore.Rebuilt) {
	fmt.Fprintf(out, "%s of %s, %s in %s, from %s and %s\n", terminal.Counted(d.Rows, "row"), terminal.Counted(d.Hours, "hour"), terminal.Counted(d.Responses, "response"),
		terminal.Counted(d.Epochs, "epoch"), terminal.Counted(d.FromStatistics, "statistics object"), terminal.Counted(d.FromEvents, "event object"))
	if d.Dropped > 0 {
		fmt.Fprintf(out, "not recorded, according to drop records: %s\n", terminal.Counted(d.Dropped, "response"))
	}
	Repeated(out, d.Repeated)
	if d.Into != "" {
		fmt.Fprintf(out, "written to %s; view it with: wayside archive serve --data %s\n", d.Into, d.Into)
	}
	if l := d.Local; l != nil {
		fmt.Fprintf(out, "%d rows equal those of the store, %d differ, and %d exist on only one side\n", l.Equal, l.Different, l.Missing)
		for _, e := range l.Examples {
			fmt.Fprintln(out, " ", terminal.Safe(e))
		}
	}
}

// BackedUp writes the result of `wayside backup`.
func BackedUp(w io.Writer, a *admin.BackupAnswer) error {
	archive := fmt.Sprintf("the archive, which is not in it: %s", a.ArchiveIs)
	if a.ArchiveCopy {
		archive = fmt.Sprintf("the archive in it: %d files", a.Objects)
	}
	_, err := fmt.Fprintf(w, "%s: the books as of %s, %d bytes of the store, and %s\n", terminal.Safe(a.Dir), a.At, a.StoreBytes, terminal.Safe(archive))
	return err
}

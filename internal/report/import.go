package report

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/wayside-proxy/wayside/internal/terminal"
	"github.com/wayside-proxy/wayside/process/books/logimport"
)

// Imported writes the results of an import of access logs; dry means that nothing was imported.
func Imported(out io.Writer, files []logimport.File, dry bool) error {
	var errs []error
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FILE\tFORMAT\tLINES\tKNOWN\tCOUNTED\tFROM\tTO\tNOTES")
	for i := range files {
		f := &files[i]
		from, to := "-", "-"
		if f.From != nil {
			from, to = f.From.Format(time.RFC3339), f.To.Format(time.RFC3339)
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%s\t%s\t%s\n", terminal.Safe(f.Name), f.Format, f.Lines, f.Known, f.Responses, from, to, importNotes(f, dry))
	}
	errs = append(errs, w.Flush())
	for i := range files {
		f := &files[i]
		for _, p := range f.Problems {
			_, err := fmt.Fprintf(out, "%s: %s\n", terminal.Safe(f.Name), terminal.Safe(p))
			errs = append(errs, err)
		}
		if more := f.Unreadable - uint64(len(f.Problems)); more > 0 {
			_, err := fmt.Fprintf(out, "%s: and %d more lines\n", terminal.Safe(f.Name), more)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func importNotes(f *logimport.File, dry bool) string {
	var notes []string
	note := func(n uint64, what string) {
		if n > 0 {
			notes = append(notes, fmt.Sprintf("%d %s", n, what))
		}
	}
	note(f.Untimed, "without a duration")
	note(f.Others, "lines about no response")
	note(f.Unreadable, "unreadable lines")
	if f.Unfinished {
		notes = append(notes, "the last line has no end and was left out")
	}
	if dry {
		notes = append(notes, "nothing was imported")
	}
	return strings.Join(notes, ", ")
}

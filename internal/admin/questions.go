package admin

import "github.com/wayside-proxy/wayside/internal/catalogue"

// Paths at which the traffic process asks the books process, besides [PathPing]. The answers are JSON.
const (
	PathView    = InternalPrefix + "view"    // GET: accounting.View
	PathArchive = InternalPrefix + "archive" // GET: State
	PathRefill  = InternalPrefix + "refill"  // GET: State
	PathVerify  = InternalPrefix + "verify"  // GET, ?local=true leaves the archive out: []*verify.Check
	PathForget  = InternalPrefix + "forget"  // POST ForgetOrder: ForgetAnswer
	PathFiles   = InternalPrefix + "files"   // GET: patterns of the files that the store has now, as []string
	PathFinish  = InternalPrefix + "finish"  // POST: Finished
)

// Paths at which commands ask the books process, through the admin listener.
const (
	PathJob       = "/-/job/"         // and the name of a job, POST: books.JobDone; with ?all=true the job archive takes everything
	PathCatalogue = "/-/catalogue"    // GET: a catalogue.Plan a line
	PathConfig    = "/-/books-config" // GET: datadir.Config, how the books are kept
)

// State is one line of /readyz?verbose.
type State struct {
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

// ForgetOrder is the body of POST /-/forget.
type ForgetOrder struct {
	Path    string `json:"path"`
	Host    string `json:"host,omitempty"`
	Method  string `json:"method,omitempty"`
	Archive bool   `json:"archive,omitempty"` // write objects again whose events are still held
	Count   bool   `json:"dry_run,omitempty"`
}

// ForgetAnswer is what was, or would be, forgotten.
type ForgetAnswer struct {
	catalogue.Forgotten
	Left []string `json:"left,omitempty"` // where it may still be, in words
}

// Finished is what is left after the last drain and archive.
type Finished struct {
	Archived   uint64  `json:"archived"`             // rows archived by the last run
	Unarchived *uint64 `json:"unarchived,omitempty"` // responses applied and not archived; nil: the store could not say
	Problems   string  `json:"problems,omitempty"`
}

// Attrs are the figures for a log line. What is not known is left out: 0 would say that all is archived.
func (f *Finished) Attrs() []any {
	out := []any{"archived", f.Archived}
	if f.Unarchived != nil {
		out = append(out, "unarchived", *f.Unarchived)
	}
	return out
}

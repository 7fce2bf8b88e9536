package admin

import "github.com/wayside-proxy/wayside/internal/catalogue"

// Paths for requests from the traffic process to the books process, in addition to [PathPing]. The responses are JSON.
const (
	PathView    = InternalPrefix + "view"    // GET: accounting.View
	PathArchive = InternalPrefix + "archive" // GET: State
	PathRefill  = InternalPrefix + "refill"  // GET: State
	PathVerify  = InternalPrefix + "verify"  // GET; with ?local=true, without the archive: []*verify.Check
	PathForget  = InternalPrefix + "forget"  // POST ForgetOrder: ForgetAnswer
	PathFiles   = InternalPrefix + "files"   // GET: patterns that match the store's current files, as []string
	PathBackup  = InternalPrefix + "backup/" // POST: followed by the step (begin, then write or cancel), see books.backup
	PathFinish  = InternalPrefix + "finish"  // POST: Finished
	PathMark    = InternalPrefix + "mark"    // POST catalogue.Mark: the mark in its stored form
)

// Paths for requests from commands to the books process, through the admin listener.
const (
	PathJob       = "/-/job/"         // followed by the name of a job; POST, archive with ?all=true for all ages: books.JobDone
	PathCatalogue = "/-/catalogue"    // GET: one catalogue.Plan per line
	PathConfig    = "/-/books-config" // GET: datadir.Config, the configuration of the books
)

// State is one line of /readyz?verbose.
type State struct {
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

// BackupOrder is the body of POST /-/backup.
type BackupOrder struct {
	Dir string `json:"dir"` // absolute; wayside creates it, so it must not exist
}

// BackupAnswer describes a complete backup.
type BackupAnswer struct {
	Dir         string `json:"dir"`
	At          string `json:"at"`           // the moment whose state the backup contains, in RFC 3339
	StoreBytes  int64  `json:"store_bytes"`  // size of keys and values
	ArchiveIs   string `json:"archive"`      // the archive to which the backup refers
	ArchiveCopy bool   `json:"archive_copy"` // whether the archive's objects are in the backup
	Objects     int    `json:"objects"`      // number of archive files in the backup
}

// ForgetOrder is the body of POST /-/forget.
type ForgetOrder struct {
	Path    string `json:"path"`
	Host    string `json:"host,omitempty"`
	Method  string `json:"method,omitempty"`
	Archive bool   `json:"archive,omitempty"` // whether to rewrite objects whose events are still in the store
	Count   bool   `json:"dry_run,omitempty"`
}

// ForgetAnswer describes what was forgotten or, if the order only counts, what would be forgotten.
type ForgetAnswer struct {
	catalogue.Forgotten
	Left []string `json:"left,omitempty"` // places that may still contain the path, in readable form
}

// Finished is the result of the last drain and archiving at a shutdown.
type Finished struct {
	Archived   uint64  `json:"archived"`             // rows archived by the last run
	Unarchived *uint64 `json:"unarchived,omitempty"` // responses that were applied but not archived; nil if unknown
	Problems   string  `json:"problems,omitempty"`
}

// Attrs returns the figures for a log line. It omits an unknown figure, because 0 would mean that everything was archived.
func (f *Finished) Attrs() []any {
	out := []any{"archived", f.Archived}
	if f.Unarchived != nil {
		out = append(out, "unarchived", *f.Unarchived)
	}
	return out
}

package catalogue

import "regexp"

// A directory archive may share its folder with anything (file:///srv), so wayside only ever looks at names that it writes itself.
var (
	archiveFolder = regexp.MustCompile(`^v1(/stats)?(/dt=\d{4}-\d\d-\d\d(/hour=\d\d)?)?$`)
	archiveFile   = regexp.MustCompile(`^v1(/stats)?/dt=\d{4}-\d\d-\d\d/hour=\d\d/[\w.%-]+_[0-9a-f-]{36}_\d+-\d+\.ndjson\.gz(\.json)?(\.tmp)?$`)
)

// IsArchiveFolder reports whether wayside makes a folder of this name below an archive's prefix. The name uses "/".
func IsArchiveFolder(name string) bool { return archiveFolder.MatchString(name) }

// IsArchiveFile reports whether wayside writes a file of this name below an archive's prefix: an object, its metadata, or either
// while it is being written, which ends in ".tmp".
func IsArchiveFile(name string) bool { return archiveFile.MatchString(name) }

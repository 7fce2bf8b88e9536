package catalogue

import "regexp"

// A directory archive may share its folder with other files (file:///srv), so wayside handles only files and folders whose names it
// writes itself.
var (
	archiveFolder = regexp.MustCompile(`^v1(/stats)?(/dt=\d{4}-\d\d-\d\d(/hour=\d\d)?)?$`)
	archiveFile   = regexp.MustCompile(`^v1(/stats)?/dt=\d{4}-\d\d-\d\d/hour=\d\d/[\w.%-]+_[0-9a-f-]{36}_\d+-\d+\.ndjson\.gz(\.json)?(\.tmp)?$`)
)

// IsArchiveFolder reports whether wayside creates folders with this name below an archive's prefix. The name uses "/".
func IsArchiveFolder(name string) bool { return archiveFolder.MatchString(name) }

// IsArchiveFile reports whether wayside writes files with this name below an archive's prefix: objects and their metadata, and, while they
// are being written, their temporary files, whose names end in ".tmp".
func IsArchiveFile(name string) bool { return archiveFile.MatchString(name) }

// NameBytesMax limits an escaped service or instance name in a key. It keeps file names below 255 bytes, with the epoch
// (36), two sequence numbers (40), separators and the longest suffix.
const NameBytesMax = 72

// AppendName appends the name of a service or an instance in the form used in keys: percent-encoded outside [A-Za-z0-9.-], and truncated
// to [NameBytesMax], but never inside an escape.
func AppendName(dst []byte, name string) []byte {
	end := len(dst) + NameBytesMax
	for i := range len(name) {
		c := name[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '-':
			if len(dst)+1 > end {
				return dst
			}
			dst = append(dst, c)
		default:
			if len(dst)+3 > end {
				return dst
			}
			dst = append(dst, '%', "0123456789ABCDEF"[c>>4], "0123456789ABCDEF"[c&15])
		}
	}
	return dst
}

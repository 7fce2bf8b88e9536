package pathbench

import (
	"regexp"
	"strings"
)

var numberOrUUID = regexp.MustCompile(`^(\d+|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12})$`)

// NumbersAndUUIDs is the usual rule: segments that are numbers or UUIDs become placeholders, and all other segments are literal.
func NumbersAndUUIDs(path string) string {
	segments := strings.Split(path, "/")
	for i, s := range segments {
		if numberOrUUID.MatchString(s) {
			segments[i] = "{}"
		}
	}
	return strings.Join(segments, "/")
}

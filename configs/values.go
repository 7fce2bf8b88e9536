package configs

import (
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/internal/timeparse"
)

// Duration is a length of time, written in Go's form: 250ms, 30s, 1h30m.
type Duration time.Duration

// Units for durations.
const (
	Millisecond = Duration(time.Millisecond)
	Second      = Duration(time.Second)
	Minute      = Duration(time.Minute)
	Hour        = Duration(time.Hour)
)

// Std returns d as the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// OrOff returns d, or a negative duration if d is 0. In the configuration, 0 means no limit. In the Options of packages, 0 means the default and
// a negative duration means no limit.
func (d Duration) OrOff() time.Duration {
	if d == 0 {
		return -1
	}
	return d.Std()
}

// String returns the shortest form that ParseDuration accepts: 1h, not 1h0m0s. A whole number of days that is at least a week is written
// in the form 30d.
func (d Duration) String() string {
	if days := d / (24 * Hour); days >= 7 && d%(24*Hour) == 0 {
		return fmt.Sprintf("%dd", days)
	}
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// ParseDuration parses a number with a unit (ns, us, ms, s, m, h, d for 24 hours, w), or a sequence of these, such as 1h30m. A plain 0
// needs no unit.
func ParseDuration(s string) (Duration, error) {
	d, err := timeparse.Duration(s)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration: write a number with a unit, such as 500ms, 30s, 15m, 72h or 3d", s)
	}
	return Duration(d), nil
}

// Bytes is a size in bytes.
type Bytes int64

// Units for sizes.
const (
	KiB Bytes = 1 << (10 * (iota + 1))
	MiB
	GiB
	TiB
)

// units lists the units in the order in which String tries them. Parsing accepts all of them, in upper or lower case. Kubernetes writes
// Ki, Mi, Gi and Ti.
var units = []struct {
	name string
	size Bytes
}{
	{"TiB", TiB},
	{"GiB", GiB},
	{"MiB", MiB},
	{"KiB", KiB},
	{"TB", 1e12},
	{"GB", 1e9},
	{"MB", 1e6},
	{"kB", 1e3},
	{"Ti", TiB},
	{"Gi", GiB},
	{"Mi", MiB},
	{"Ki", KiB},
	{"B", 1},
}

// Int64 returns the number of bytes.
func (b Bytes) Int64() int64 { return int64(b) }

// Int returns the number of bytes as an int, or the largest int if it does not fit.
func (b Bytes) Int() int { return int(min(int64(b), math.MaxInt)) }

// String returns the size as a whole number of the largest unit possible, binary units first. ParseBytes accepts this form.
func (b Bytes) String() string {
	if b == 0 {
		return "0"
	}
	for _, u := range units {
		if u.size > 1 && b%u.size == 0 {
			return strconv.FormatInt(int64(b/u.size), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// ParseBytes parses a size: plain bytes (1048576) or a whole number with a unit (64MiB, 10Gi, 1GB). KiB and Ki are 1024 bytes, kB is 1000.
func ParseBytes(s string) (Bytes, error) {
	number, size := strings.TrimSpace(s), Bytes(1)
	for _, u := range units {
		if n := len(number) - len(u.name); n > 0 && strings.EqualFold(number[n:], u.name) {
			number, size = strings.TrimSpace(number[:n]), u.size
			break
		}
	}
	v, err := strconv.ParseInt(number, 10, 64)
	if bare, letter := s[:max(len(s)-1, 0)], s[max(len(s)-1, 0):]; err != nil && letter != "" && strings.Contains("kKmMgGtT", letter) {
		letter = strings.ToUpper(letter)
		return 0, fmt.Errorf("%q can be read in two ways: write %s%siB (1024s) or %s%sB (1000s)", s, bare, letter, bare, letter)
	}
	if err != nil {
		return 0, fmt.Errorf("%q is not a size: write bytes (1048576) or a whole number with a unit, such as 64MiB or 1GB", s)
	}
	if v > math.MaxInt64/int64(size) || v < math.MinInt64/int64(size) {
		return 0, fmt.Errorf("%q is too large: the limit is %d bytes", s, int64(math.MaxInt64))
	}
	return Bytes(v) * size, nil
}

// Percent is a whole percentage, written with or without %.
type Percent int

// String returns the number with %.
func (p Percent) String() string { return strconv.Itoa(int(p)) + "%" }

// Secret is a value that never appears in log lines, errors or the printed configuration. Convert it to a string to use it.
type Secret string

// String returns a placeholder, or nothing for an empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "[redacted]"
}

// GoString hides the value from %#v.
func (s Secret) GoString() string { return strconv.Quote(s.String()) }

// LogValue hides the value from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText hides the value from JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// setText parses a single value into a field of the table.
func setText(field any, text string) error {
	switch p := field.(type) {
	case *string:
		*p = text
	case *Secret:
		*p = Secret(text)
	case *[]string:
		*p = splitList(text)
	case *bool:
		v, ok := map[string]bool{"true": true, "false": false}[strings.ToLower(text)]
		if !ok {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		*p = v
	case *int:
		v, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("%q is not a whole number", text)
		}
		*p = v
	case *Duration:
		v, err := ParseDuration(text)
		if err != nil {
			return err
		}
		*p = v
	case *Bytes:
		v, err := ParseBytes(text)
		if err != nil {
			return err
		}
		*p = v
	case *Percent:
		v, err := strconv.Atoi(strings.TrimSuffix(text, "%"))
		if err != nil {
			return fmt.Errorf("%q is not a percentage: write a whole number with %%, such as 50%%", text)
		}
		*p = Percent(v)
	case **Duration:
		return setOptional(p, text)
	case **Bytes:
		return setOptional(p, text)
	default:
		return inFileOnly()
	}
	return nil
}

// setOptional parses a value into a pointer field, which is nil unless the key is set.
func setOptional[T any](field **T, text string) error {
	v := new(T)
	if err := setText(v, text); err != nil {
		return err
	}
	*field = v
	return nil
}

// splitList splits a comma-separated list and drops empty elements.
func splitList(text string) []string {
	list := strings.Split(text, ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return slices.DeleteFunc(list, func(s string) bool { return s == "" })
}

// text returns the value of a field in the form that setText accepts. For a secret, it returns a placeholder.
func text(field any) string {
	switch p := field.(type) {
	case *string:
		return *p
	case *Secret:
		return p.String()
	case *[]string:
		return strings.Join(*p, ",")
	case *bool:
		return strconv.FormatBool(*p)
	case *int:
		return strconv.Itoa(*p)
	case *Duration:
		return p.String()
	case *Bytes:
		return p.String()
	case *Percent:
		return p.String()
	case **Duration:
		if *p != nil {
			return (*p).String()
		}
	case **Bytes:
		if *p != nil {
			return (*p).String()
		}
	}
	return ""
}

// typeName returns the name of a field's type for the documentation.
func typeName(field any) string {
	switch field.(type) {
	case *[]string:
		return "list"
	case *bool:
		return "true or false"
	case *int:
		return "number"
	case *Duration, **Duration:
		return "duration"
	case *Bytes, **Bytes:
		return "size"
	case *Percent:
		return "percentage"
	case *[]Certificate, *[]Route, *[]Server:
		return "list of mappings"
	case *[]Upstream, *map[string]string, **Respond:
		return "mapping"
	case *[]Target:
		return "text or mapping"
	case *Secret:
		return "secret"
	}
	return "text"
}

package pathbench

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
)

// values generates random values of parameters.
type values struct {
	r     *rand.Rand
	size  int
	owner int // owner in the current path; each owner has its own repositories

	logins, slugs *population
}

// population is a list of names with their frequencies: a few are frequent, most are rare.
type population struct {
	names []string
	zipf  *rand.Zipf
}

func newPopulation(r *rand.Rand, size int, name func() string) *population {
	p := &population{zipf: rand.NewZipf(r, 1.15, 10, uint64(size-1))}
	seen := map[string]bool{}
	for len(p.names) < size {
		n := name()
		if seen[n] {
			n += fmt.Sprint(len(p.names))
		}
		seen[n] = true
		p.names = append(p.names, n)
	}
	return p
}

func (p *population) draw() (int, string) {
	i := int(p.zipf.Uint64())
	return i, p.names[i]
}

func newValues(r *rand.Rand, size int) *values {
	v := &values{r: r, size: size}
	v.logins = newPopulation(r, size, v.login)
	v.slugs = newPopulation(r, size, v.slug)
	return v
}

// begin starts a new path.
func (v *values) begin() { v.owner = -1 }

// draw returns a random value for a parameter, depending on its kind and, for text, on its name.
func (v *values) draw(name, kind string) string {
	switch {
	case kind == "str":
		return v.text(name)
	case kind == "int":
		return fmt.Sprint(v.number())
	case strings.HasPrefix(kind, "prefix="):
		return strings.TrimPrefix(kind, "prefix=") + "_" + v.random(alnum, 14+v.r.IntN(11))
	case strings.Contains(kind, "|"):
		choices := strings.Split(kind, "|")
		return choices[v.r.IntN(len(choices))]
	}
	return v.shaped(kind)
}

// number returns small numbers more often than large ones, like the numbers of issues in real requests.
func (v *values) number() int {
	switch v.r.IntN(3) {
	case 0:
		return 1 + v.r.IntN(200)
	case 1:
		return 1 + v.r.IntN(50_000)
	default:
		return 1_000_000 + v.r.IntN(900_000_000)
	}
}

const (
	hexDigits = "0123456789abcdef"
	alnum     = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
)

func (v *values) random(alphabet string, n int) string {
	out := make([]byte, n)
	for i := range out {
		out[i] = alphabet[v.r.IntN(len(alphabet))]
	}
	return string(out)
}

// shaped returns values of a fixed form.
func (v *values) shaped(kind string) string {
	switch kind {
	case "uuid":
		h := v.random(hexDigits, 32)
		return h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-a" + h[17:20] + "-" + h[20:]
	case "ulid":
		return "01" + v.random(crockford, 24)
	case "sha":
		return v.random(hexDigits, 40)
	case "token":
		return v.random(alnum, 24+v.r.IntN(20))
	case "jwt":
		claims := fmt.Sprintf(`{"sub":%d,"exp":%d}`, v.number(), 1_700_000_000+v.number())
		return "eyJhbGciOiJIUzI1NiJ9." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + "." + v.random(alnum, 43)
	case "code":
		return v.random(crockford, 8)
	case "sku":
		return fmt.Sprintf("%s-%04d", strings.ToUpper(v.random("abcdefghijklmnopqrstuvwxyz", 3)), v.r.IntN(10_000))
	case "date":
		return fmt.Sprintf("20%02d-%02d-%02d", 20+v.r.IntN(7), 1+v.r.IntN(12), 1+v.r.IntN(28))
	case "year":
		return fmt.Sprint(2015 + v.r.IntN(12))
	case "month":
		return fmt.Sprintf("%02d", 1+v.r.IntN(12))
	case "email":
		return v.pick(givenNames) + "." + v.pick(words) + "@example.com"
	case "country":
		return v.pick([]string{"at", "au", "be", "br", "ca", "ch", "cn", "de", "dk", "es", "fi", "fr", "gb", "ie", "in", "it", "jp", "kr", "mx", "nl", "no", "nz", "pl", "pt", "se", "sg", "tr", "us", "za"})
	case "hashed":
		return v.pick([]string{"main", "app", "vendor", "theme", "chunk"}) + "." + v.random(hexDigits, 8) + "." + v.pick([]string{"js", "css"})
	case "image":
		_, slug := v.slugs.draw()
		return slug + v.pick([]string{".jpg", ".png", ".webp"})
	}
	panic("pathbench: unknown kind: " + kind)
}

// text returns random free text that suits the parameter's name.
func (v *values) text(name string) string {
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(name, p) {
				return true
			}
		}
		return false
	}
	switch {
	case has("ghsa"):
		return "GHSA-" + v.random("23456789cfghjmpqrvwx", 4) + "-" + v.random("23456789cfghjmpqrvwx", 4) + "-" + v.random("23456789cfghjmpqrvwx", 4)
	case has("digest"):
		return "sha256:" + v.random(hexDigits, 64)
	case has("uuid", "task_id", "sarif", "budget", "network_"):
		return v.shaped("uuid")
	case has("sha", "gist"):
		return v.shaped("sha")
	case has("client_id"):
		return "Iv1." + v.random(hexDigits, 16)
	case has("code") && !has("codespace"), has("export_id"):
		return v.random(hexDigits, 20)
	case has("basehead"):
		return v.branch() + "..." + v.branch()
	case has("branch", "ref", "base", "head"):
		return v.branch()
	case has("secret_name"):
		return strings.ToUpper(v.pick(words) + "_" + v.pick(words))
	case has("environment"):
		return v.environment()
	case has("license"):
		return v.pick([]string{"mit", "apache-2.0", "gpl-3.0", "bsd-2-clause", "bsd-3-clause", "mpl-2.0", "unlicense", "lgpl-3.0", "agpl-3.0", "cc0-1.0", "epl-2.0", "isc"})
	case has("language"):
		return v.pick([]string{"go", "javascript", "python", "ruby", "java", "typescript", "c", "cpp", "rust", "kotlin", "swift", "php", "scala", "shell", "html", "css"})
	case has("archive_format"):
		return v.pick([]string{"zip", "tar"})
	case has("version"):
		return v.pick([]string{"2022-11-28", "v1.2.0", "1.0.3", "latest"})
	case has("tag"):
		return fmt.Sprintf("v%d.%d.%d", v.r.IntN(6), v.r.IntN(20), v.r.IntN(10))
	case name == "path", name == "dir":
		return v.file()
	case has("codespace"):
		_, login := v.logins.draw()
		return login + "-" + v.pick(words) + "-" + v.random(hexDigits, 14)
	case has("repo") && !has("owner"):
		return v.repo()
	case has("owner", "org", "user", "enterprise", "assignee", "actor", "author", "cluster", "namespace") && !has("team"):
		i, login := v.logins.draw()
		v.owner = i
		return login
	}
	_, slug := v.slugs.draw()
	return slug
}

func (v *values) repo() string {
	if v.owner < 0 {
		_, slug := v.slugs.draw()
		return slug
	}
	// An owner has up to thirty repositories. The first one is the most frequent.
	n := 1 + (v.owner*7919)%30
	i := min(v.r.IntN(n), v.r.IntN(n))
	return v.slugs.names[(v.owner*31+i*17)%len(v.slugs.names)]
}

func (v *values) branch() string {
	switch n := v.r.IntN(10); {
	case n < 4:
		return "main"
	case n < 5:
		return "master"
	case n < 6:
		return v.pick([]string{"develop", "gh-pages", "staging", "release"})
	case n < 7:
		return fmt.Sprintf("release-%d.%d", v.r.IntN(9), v.r.IntN(20))
	default:
		return v.pick([]string{"feature", "fix", "renovate", "dependabot", "chore"}) + "%2F" + v.pick(words) + "-" + v.pick(words)
	}
}

func (v *values) environment() string {
	if v.r.IntN(4) == 0 {
		return fmt.Sprintf("pr-%d", 1+v.r.IntN(3000))
	}
	return v.pick([]string{"production", "staging", "preview", "development", "github-pages", "qa", "prod-eu", "prod-us"})
}

// file returns a path of one to four segments, which no template with a single placeholder can match.
func (v *values) file() string {
	out := ""
	for range v.r.IntN(4) {
		out += v.pick(words) + "/"
	}
	return out + v.pick(words) + v.pick([]string{".go", ".md", ".ts", ".py", ".json", ""})
}

func (v *values) pick(from []string) string { return from[v.r.IntN(len(from))] }

func (v *values) login() string {
	switch v.r.IntN(5) {
	case 0:
		return v.pick(givenNames) + fmt.Sprint(v.r.IntN(100))
	case 1:
		return v.pick(words) + v.pick([]string{"", "hq", "-labs", "-io", "-org", "inc", "-dev"})
	case 2:
		return v.invented() + v.invented()
	case 3:
		return v.pick(givenNames) + v.pick([]string{"", "-", ""}) + v.invented()
	default:
		return v.pick(words) + "-" + v.pick(words)
	}
}

func (v *values) slug() string {
	switch v.r.IntN(6) {
	case 0:
		return v.pick(words)
	case 1:
		return v.invented() + "." + v.pick([]string{"js", "io", "py", "rs", "nvim"})
	case 2:
		return v.pick(words) + "_" + v.pick(words)
	case 3:
		return v.pick(words) + "-" + v.pick(words) + "-" + v.pick(words)
	case 4:
		return v.invented() + v.pick([]string{"", "2", "-cli", "-go", "kit", "-v3"})
	default:
		return v.pick(words) + "-" + v.pick(words)
	}
}

// invented returns a word that is in no list.
func (v *values) invented() string {
	out := ""
	for range 2 + v.r.IntN(2) {
		out += v.pick(onsets) + v.pick(vowels)
	}
	return out + v.pick([]string{"", "", "n", "r", "x", "s"})
}

// noise returns a path that a scanner might request: a known vulnerable path or a random one.
func (v *values) noise() string {
	switch v.r.IntN(5) {
	case 0:
		return v.pick(weakSpots)
	case 1:
		return "/" + v.pick(words) + "/" + v.pick(weakSpots)[1:]
	case 2:
		return "/" + v.random(alnum, 4+v.r.IntN(12)) + v.pick([]string{".php", ".asp", "", "/", ".bak", ".zip"})
	case 3:
		return "/" + v.invented() + "/" + v.invented() + v.pick([]string{"", ".php", "/.git/config"})
	default:
		return "/api/" + v.pick([]string{"v1", "v2", "v3", "internal"}) + "/" + v.invented()
	}
}

package configs

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseBytes(t *testing.T) {
	for text, want := range map[string]Bytes{
		"0": 0, "1048576": MiB, "64MiB": 64 * MiB, "64 mib": 64 * MiB, "1GB": 1e9, "10GiB": 10 * GiB, "5B": 5, "3kB": 3000, "2KiB": 2048, "-1": -1, "10Gi": 10 * GiB, "64Mi": 64 * MiB,
	} {
		if got, err := ParseBytes(text); err != nil || got != want {
			t.Errorf("%q: %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "MiB", "1.5GiB", "1 0", "0x10", "1XB", "10G", "10m", "1MiBs", "9223372036854775808"} {
		if got, err := ParseBytes(text); err == nil {
			t.Errorf("%q is accepted as %d", text, got)
		}
	}
}

func TestValuesReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := Bytes(rapid.Int64().Draw(t, "bytes"))
		if got, err := ParseBytes(b.String()); err != nil || got != b {
			t.Fatalf("%d prints as %s and reads as %d, %v", int64(b), b, got, err)
		}
		d := Duration(rapid.Int64().Draw(t, "duration"))
		if got, err := ParseDuration(d.String()); err != nil || got != d {
			t.Fatalf("%d prints as %s and reads as %d, %v", int64(d), d, got, err)
		}
	})
}

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]Duration{"0": 0, "3d": 72 * Hour, "1w": 168 * Hour, "1d12h": 36 * Hour, "-1d": -24 * Hour, "250ms": 250 * Millisecond, "1w1d": 192 * Hour} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "d", "1", "1.5d", "--1d", "1d-1h", "1d+1h", "1d1", "99999999999d", "1h1d", "9999999w"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("%q is accepted as %v", text, got)
		}
	}
}

func TestDurationIsShort(t *testing.T) {
	for d, want := range map[Duration]string{Hour: "1h", Minute: "1m", 90 * Minute: "1h30m", 72 * Hour: "72h", Second: "1s", 0: "0s", 10 * Hour: "10h", 10 * Second: "10s", 70 * Second: "1m10s"} {
		if d.String() != want {
			t.Errorf("%d prints as %s, want %s", int64(d), d, want)
		}
	}
}

// contents are the fields that are read from files, and the name of a group, which is not a key within the group.
var contents = map[string]bool{
	".Archive.AccessKey": true, ".Archive.SecretKey": true, ".Archive.CA": true, ".TLS.ClientCA": true, ".TLS.ACME.CA": true,
	"Upstream.TLS.CA": true, "Upstream.TLS.Cert": true, "Upstream.TLS.Key": true, "Route.Auth": true, "Respond.FileBody": true,
	"Upstream.Name": true, ".OTLP.Headers": true, ".OTLP.CA": true,
}

// TestTableCoversConfig: every exported field of Config and of its elements has a key, except the fields in contents.
func TestTableCoversConfig(t *testing.T) {
	c := sample()
	bound := map[any]string{}
	keys := table(c)
	for _, k := range elementKeys(c) {
		keys = append(keys, k.key)
		bound[k.field] = ""
	}
	for _, k := range keys {
		if other := bound[k.field]; other != "" {
			t.Errorf("%s and %s share a field", k.path, other)
		}
		bound[k.field] = k.path
		if k.doc == "" || strings.ToLower(strings.ReplaceAll(k.path, "NAME", "")) != strings.ReplaceAll(k.path, "NAME", "") {
			t.Errorf("%s has no description or a strange name", k.path)
		}
	}
	var walk func(v reflect.Value, name string)
	walk = func(v reflect.Value, name string) {
		for i := range v.NumField() {
			field := v.Type().Field(i)
			full := name + "." + field.Name
			switch {
			case !field.IsExported() || contents[full]:
			case field.Type.Kind() == reflect.Struct:
				walk(v.Field(i), full)
			case bound[v.Field(i).Addr().Interface()] == "":
				t.Errorf("%s has no key", full)
			}
		}
	}
	walk(reflect.ValueOf(c).Elem(), "")
	walk(reflect.ValueOf(&c.TLS.Certificates[0]).Elem(), "Certificate")
	walk(reflect.ValueOf(&c.Upstreams[0]).Elem(), "Upstream")
	walk(reflect.ValueOf(&c.Upstreams[0].Servers[0]).Elem(), "Server")
	walk(reflect.ValueOf(&c.Routes[0]).Elem(), "Route")
	walk(reflect.ValueOf(c.Routes[0].Respond).Elem(), "Respond")
}

func TestEnvironmentNamesAreDistinct(t *testing.T) {
	seen := map[string]string{}
	for _, k := range Keys() {
		if k.Env == "" {
			continue // only the file can set it
		}
		if other, twice := seen[k.Env]; twice {
			t.Errorf("%s and %s share %s", k.Path, other, k.Env)
		}
		if reservedEnv(k.Env, "x") {
			t.Errorf("%s would be ignored", k.Env)
		}
		seen[k.Env] = k.Path
	}
}

func TestDefaultIsValid(t *testing.T) {
	c := Default()
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	if c.RequireUpstream() == nil {
		t.Error("an upstream is not asked for")
	}
}

func TestTargetURL(t *testing.T) {
	for want, a := range map[string]Archive{
		"file:///a": {URL: "file:///a", Region: "x"},
		"s3://b/p":  {URL: "s3://b/p"},
		"s3://b/p?endpoint=http%3A%2F%2Fh%3A1&path_style=true&region=r": {URL: "s3://b/p?endpoint=http://h:1", Region: "r", PathStyle: true},
	} {
		if got := a.TargetURL(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestNamesInTheArchiveURL(t *testing.T) {
	c := Config{Service: "shop_a", Instance: "pod-0"}
	for url, want := range map[string]string{
		"s3://bkt/books":                      "s3://bkt/books",
		"s3://bkt/{service}/{instance}":       "s3://bkt/shop%255Fa/pod-0",
		"s3://bkt/x-{service}?region=eu-we-1": "s3://bkt/x-shop%255Fa?region=eu-we-1",
	} {
		if c.Archive.URL = url; c.ArchiveURL() != want {
			t.Errorf("%s becomes %s, want %s", url, c.ArchiveURL(), want)
		}
	}
	for _, url := range []string{"s3://bkt/{pod}", "s3://bkt/{service", "s3://bkt/}"} {
		if checkArchiveURL(url) == "" {
			t.Errorf("%s is accepted", url)
		}
	}
	c = Config{Service: "a/b", Archive: Archive{URL: "s3://bkt/{service}"}}
	if got := c.ArchiveURL(); got != "s3://bkt/a%252Fb" {
		t.Errorf("a name leaves its place: %s", got)
	}
	c.Archive = Archive{URL: "file:///srv/{service}", Expire: Hour}
	if c.LocalArchive() != "/srv/a%2Fb" || c.ArchiveExpiry() != time.Hour {
		t.Errorf("%s, %v", c.LocalArchive(), c.ArchiveExpiry())
	}
	if c.Archive.URL = "s3://bkt/{service}"; c.LocalArchive() != "" || c.ArchiveExpiry() != 0 {
		t.Errorf("%s, %v", c.LocalArchive(), c.ArchiveExpiry())
	}
}

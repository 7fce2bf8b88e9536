package dashboard

import (
	"bytes"
	"compress/gzip"
	"io"
	"testing"
)

// TestServe requests every file: whole, compressed, and again with its ETag.
func TestServe(t *testing.T) {
	for path := range kinds {
		fieldsOf := func(fields [][2]string) map[string]string {
			out := map[string]string{}
			for _, f := range fields {
				out[f[0]] = f[1]
			}
			return out
		}
		status, fields, body := Serve(path, "", "")
		etag := fieldsOf(fields)["Etag"]
		if status != 200 || len(body) == 0 || len(etag) < 10 || fieldsOf(fields)["Content-Type"] != kinds[path] {
			t.Errorf("%s: %d, %v, %d bytes", path, status, fields, len(body))
		}
		status, fields, zipped := Serve(path, `"other"`, "br, gzip;q=0.5")
		r, err := gzip.NewReader(bytes.NewReader(zipped))
		if err != nil || status != 200 || fieldsOf(fields)["Content-Encoding"] != "gzip" {
			t.Fatalf("%s: %d, %v, %v", path, status, fields, err)
		}
		if plain, err := io.ReadAll(r); err != nil || !bytes.Equal(plain, body) {
			t.Errorf("%s: compressed it is %d bytes, not %d: %v", path, len(plain), len(body), err)
		}
		if status, _, plain := Serve(path, "", "gzip;q=0"); status != 200 || !bytes.Equal(plain, body) {
			t.Errorf("%s, without gzip: %d, %d bytes", path, status, len(plain))
		}
		for _, match := range []string{etag, "W/" + etag, `"x", ` + etag} {
			if status, fields, body := Serve(path, match, "gzip"); status != 304 || body != nil || fieldsOf(fields)["Etag"] != etag {
				t.Errorf("%s with %s: %d, %v", path, match, status, fields)
			}
		}
	}
	if status, _, _ := Serve("/assets/other.js", "", ""); status != 404 || Has("/assets/other.js") || !Has("/") {
		t.Error("a file that is not there")
	}
}

package query

import (
	"strings"
	"testing"
)

type request struct {
	Path string `json:"path"`
	Dry  bool   `json:"dry_run,omitempty"`
}

func TestDecodeBody(t *testing.T) {
	var o request
	if err := DecodeBody([]byte(" {\"dry_run\": true, \"path\":\"/\\u00fc\"}\n"), &o); err != nil || o != (request{"/ü", true}) {
		t.Errorf("%+v, %v", o, err)
	}
}

// TestNothingInABodyIsIgnored: everything that json.Unmarshal ignores is an error that names the key.
func TestNothingInABodyIsIgnored(t *testing.T) {
	for body, want := range map[string]string{
		`{"path":"/x","dryrun":true}`:                  `unknown key "dryrun" in the body: did you mean "dry_run"? known: dry_run, path`,
		`{"path":"/x","Dry_Run":true}`:                 `did you mean "dry_run"?`,
		`{"path":"/x","color":1}`:                      `unknown key "color" in the body: known: dry_run, path`,
		`{"path":"/x","dry_run":true,"dry_run":false}`: `key "dry_run" is in the body more than once`,
		`{"path":"/x","dry_run":null}`:                 `key "dry_run" in the body is null`,
		`{"path":"/x","dry_run":"yes"}`:                `"dry_run" in the body must be a bool, got a string`,
		`{"path":"/x"}{"dry_run":true}`:                `continues after its JSON object`,
		`{"path":"/x"} x`:                              `continues after its JSON object`,
		`{"path":"/x"`:                                 `must be one JSON object with the keys dry_run, path`,
		`{"path":"/x",}`:                               `must be one JSON object`,
		`{"path"}`:                                     `must be one JSON object`,
		`["path"]`:                                     `must be one JSON object`,
		`null`:                                         `must be one JSON object`,
		``:                                             `must be one JSON object`,
		"{\"path\":\"/\xff\"}":                         `not UTF-8`,
	} {
		var o request
		if err := DecodeBody([]byte(body), &o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v, want an error with %s", body, o, err, want)
		}
	}
}

package query

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"
)

// DecodeBody decodes the JSON object in the body of a request into the struct that into points to, as strictly as [Parse] parses a query
// string. [json.Unmarshal] ignores unknown names and null, accepts names in any case, and uses the last of several values, so a request
// could do something that its sender meant to exclude. Here, all of these are errors, and so is anything after the object. Each field
// needs a json tag.
//
// The error messages are meant for the client: they name the key, and say what is allowed.
func DecodeBody(body []byte, into any) error {
	known := fieldNames(into)
	if !utf8.Valid(body) {
		return errors.New("the body is not UTF-8")
	}
	if err := checkKeys(body, known); err != nil {
		return err
	}
	err := json.Unmarshal(body, into)
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return fmt.Errorf("%q in the body must be a %s, got a %s", wrong.Field, wrong.Type, wrong.Value)
	}
	return err
}

// checkKeys checks that the body is one JSON object, and that each of its keys is known, appears once and has a value.
func checkKeys(body []byte, known []string) error {
	d := json.NewDecoder(bytes.NewReader(body))
	notJSON := func(err error) error {
		return fmt.Errorf("the body must be one JSON object with the keys %s: at byte %d: %w", strings.Join(known, ", "), d.InputOffset(), err)
	}
	open, err := d.Token()
	if err != nil {
		return notJSON(err)
	}
	if open != json.Delim('{') {
		return notJSON(fmt.Errorf("it begins with %v", open))
	}
	seen := map[string]bool{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return notJSON(err)
		}
		key, _ := token.(string) // the decoder accepts only strings as keys
		if !slices.Contains(known, key) {
			return unknownKey(key, known)
		}
		if seen[key] {
			return fmt.Errorf("key %q is in the body more than once", key)
		}
		seen[key] = true
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return notJSON(err)
		}
		if string(value) == "null" {
			return fmt.Errorf("key %q in the body is null: give it a value, or leave it out", key)
		}
	}
	if _, err := d.Token(); err != nil { // the closing brace
		return notJSON(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("the body continues after its JSON object, at byte %d", d.InputOffset())
	}
	return nil
}

func unknownKey(key string, known []string) error {
	hint := ""
	if like := Nearest(strings.ToLower(key), known); like != "" {
		hint = fmt.Sprintf("did you mean %q? ", like)
	}
	return fmt.Errorf("unknown key %q in the body: %sknown: %s", key, hint, strings.Join(known, ", "))
}

// fieldNames returns the names in the json tags of the struct that v points to.
func fieldNames(v any) []string {
	names := map[string]bool{}
	for _, f := range reflect.VisibleFields(reflect.TypeOf(v).Elem()) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

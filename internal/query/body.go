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

// DecodeBody decodes the JSON object that is the body of a request into the struct that into points to, as strictly as [Parse]
// reads a query string. [json.Unmarshal] ignores unknown names, takes names in any case and the last value of a repeated one,
// and leaves a field as it is for null: an order could then do what its sender has excluded. All of that is an error here,
// as is anything after the object. The fields need a json tag each.
//
// Errors are for the client: they name the key, and what is allowed.
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

// checkKeys wants one JSON object, each of whose keys is known and stands there once, with a value.
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
		key, _ := token.(string) // the decoder lets nothing else be a key
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
		return fmt.Errorf("the body goes on after its JSON object, at byte %d", d.InputOffset())
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

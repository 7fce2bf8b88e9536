package terminal

import (
	"bytes"
	"encoding/json"
	"testing"
)

// TestSafeJSON: the output has nothing that a terminal interprets, and the same meaning as the input.
func TestSafeJSON(t *testing.T) {
	const path = "/é/日本/\u009b31m/\u202egpj.exe/\u200b/\U000e0041/\x7f/a\u0301"
	line, err := json.Marshal(map[string]string{"url_path": path})
	if err != nil {
		t.Fatal(err)
	}
	line = append(line, '\n')
	for cut := range line { // wherever the input is split
		var out bytes.Buffer
		w := SafeJSON(&out)
		for _, part := range [][]byte{line[:cut], line[cut:]} {
			if n, err := w.Write(part); err != nil || n != len(part) {
				t.Fatal(n, err)
			}
		}
		var got map[string]string
		if err := json.Unmarshal(out.Bytes(), &got); err != nil || got["url_path"] != path {
			t.Fatalf("%q, %v", got, err)
		}
		if text := out.String(); Safe(text[:len(text)-1]) != text[:len(text)-1] {
			t.Fatalf("%q", text)
		}
	}
}

package traffic

import (
	"bytes"
	"io"
	"os"
	"testing"

	"github.com/wayside-proxy/wayside/configs"
)

// TestBooksLogInTheSameFormat: both processes write to one output, so auto must mean the same format for both.
func TestBooksLogInTheSameFormat(t *testing.T) {
	device, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0) // a character device, like a terminal
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = device.Close() })
	for _, c := range []struct {
		logTo        io.Writer
		format, want string
	}{
		{device, "auto", "text"}, {device, "json", "json"}, {io.Discard, "auto", "json"}, {io.Discard, "text", "text"},
	} {
		cfg := configs.Default()
		cfg.Log.Format = c.format
		body, err := (&reloader{logTo: c.logTo}).handover(&cfg)
		if err != nil {
			t.Fatal(err)
		}
		books, err := configs.ReadHandover(bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if books.Log.Format != c.want || cfg.Log.Format != c.format {
			t.Errorf("%s on %T: the books process logs %s, want %s", c.format, c.logTo, books.Log.Format, c.want)
		}
	}
}

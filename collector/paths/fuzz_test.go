package paths

import (
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func FuzzLabel(f *testing.F) {
	for _, seed := range []string{"/", "/users/1", "/\xff\xfe", "/a;b?c#d", "(other)", "(malformed)", "", "//", "/" + strings.Repeat("é", 200), "/{id}"} {
		f.Add([]byte("Example.com"), []byte("GET"), []byte(seed), uint16(200))
	}
	f.Fuzz(func(t *testing.T, host, method, path []byte, status uint16) {
		l := newLabeler(t, Options{Max: 4, HostsMax: 2, Templates: []string{"/t/{x}/**/*.css", "/**/z"}})
		l.Begin()
		h, m, p := rowOf(l, host, method, path, status)
		for _, text := range []string{h, m, p} {
			if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("unprintable name %q", text)
			}
		}
		if len(p) > LabelBytesMax || len(h) > HostLabelBytesMax || p == "" {
			t.Errorf("label of %d bytes, host of %d", len(p), len(h))
		}
		if h2, m2, p2 := rowOf(l, host, method, path, status); h2 != h || m2 != m || p2 != p {
			t.Errorf("second time: %q %q %q, first %q %q %q", h2, m2, p2, h, m, p)
		}
		again := restored(t, Options{Max: 4, HostsMax: 2, Templates: []string{"/t/{x}/**/*.css", "/**/z"}}, l.Changes())
		if h2, m2, p2 := rowOf(again, host, method, path, status); h2 != h || m2 != m || p2 != p {
			t.Errorf("after restore: %q %q %q, first %q %q %q", h2, m2, p2, h, m, p)
		}
	})
}

func FuzzRestore(f *testing.F) {
	f.Add([]byte("r\x00\x00\x00\x01"), []byte("\x01\x01a\x03GET\x01/"))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		l := newLabeler(t, Options{})
		_ = l.Restore(key, value)
		label(l, "/a", 200)
	})
}

func BenchmarkLabel(b *testing.B) {
	host, method := []byte("shop.example.com"), []byte("GET")
	hot := make([][]byte, 200)
	for i := range hot {
		hot[i] = fmt.Appendf(nil, "/api/v1/resource-%c%c/list", 'a'+i%26, 'a'+i/26)
	}
	ids := make([][]byte, 1<<16)
	for i := range ids {
		ids[i] = fmt.Appendf(nil, "/users/%d/orders/%08x%08x", i, i*2654435761, i)
	}
	for name, paths := range map[string][][]byte{"hot": hot, "ids": ids} {
		b.Run(name, func(b *testing.B) {
			l := newLabeler(b, Options{})
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				rowOf(l, host, method, paths[i%len(paths)], 200)
			}
		})
	}
}

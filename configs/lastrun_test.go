package configs

import "testing"

// TestNamedArchiveIsKept: raw events in the default archive are deleted after 30 days, those in a named archive only if archive.expire is
// set. Later commands on the same data directory have the same defaults.
func TestNamedArchiveIsKept(t *testing.T) {
	const month = 720 * Hour
	data := "data: " + t.TempDir() + "\n"
	for text, want := range map[string]Duration{
		"":                              month,
		"archive: {expire: 0}\n":        0,
		"archive: {expire: 24h}\n":      24 * Hour,
		"archive: {url: ''}\n":          month,
		"archive: {after: 2h}\n":        month,
		"archive: file:///mnt/nas\n":    0,
		"archive: s3://bucket/prefix\n": 0,
		"archive: {url: file:///mnt/nas, expire: 24h}\n":  24 * Hour,
		"archive: {url: file:///mnt/nas, expire: 720h}\n": month,
	} {
		c, err := loadText(t, data+text)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		later, err := Load(LoadOptions{Flags: map[string]string{"data": c.Data.Dir}, LastRun: c.LastRunKeys(), LastRunFile: "config.json"})
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if c.Archive.Expire != want || later.Archive.Expire != want {
			t.Errorf("%q: objects expire after %v, for a later command after %v, want %v", text, c.Archive.Expire, later.Archive.Expire, want)
		}
	}
	for _, o := range []LoadOptions{{Flags: map[string]string{"archive": "file:///mnt/nas"}}, {Environ: []string{"WAYSIDE_ARCHIVE=file:///mnt/nas"}}} {
		if c, err := Load(o); err != nil || c.Archive.Expire != 0 {
			t.Errorf("%+v: %v, objects expire after %v", o, err, c.Archive.Expire)
		}
	}
}

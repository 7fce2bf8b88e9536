package report

import (
	"bytes"
	"strings"
	"testing"

	"github.com/wayside-proxy/wayside/collector"
	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/verify"
	"github.com/wayside-proxy/wayside/process/books/restore"
	"github.com/wayside-proxy/wayside/process/traffic"
	"github.com/wayside-proxy/wayside/uploader"
	"github.com/wayside-proxy/wayside/uploader/reader"
)

// TestReports: problems are distinguished from checks that could not be made, and names from outside cannot control the
// terminal.
func TestReports(t *testing.T) {
	const evil = "a\x1b[2Jb"
	found, unmade := &verify.Check{Name: "blocks", Of: "blocks", Checked: 3}, &verify.Check{Name: "archive", Of: "objects"}
	found.Problem("%s", evil)
	unmade.CannotMake("%s", evil)
	left := 2.5
	for name, c := range map[string]struct {
		write func(*bytes.Buffer)
		want  []string
	}{
		"checks": {func(b *bytes.Buffer) {
			Checks(b, &verify.Report{Checks: []*verify.Check{found, unmade, {Name: "spool", Of: "events"}}})
		}, []string{"1 PROBLEMS", "1 NOT CHECKED", "ok", "verify: 3 checks, problems: 1, not checked: 1\n"}},
		"only problems": {func(b *bytes.Buffer) { Checks(b, &verify.Report{Checks: []*verify.Check{found}}) }, []string{"verify: 1 checks, problems: 1\n"}},
		"not checked":   {func(b *bytes.Buffer) { Checks(b, &verify.Report{Checks: []*verify.Check{unmade}}) }, []string{"verify: 1 checks, not checked: 1\n"}},
		"as promised": {func(b *bytes.Buffer) {
			Checks(b, &verify.Report{Checks: []*verify.Check{{Name: "spool", Of: "events"}, {Name: "minutes", Skipped: "there are none"}}})
		}, []string{"verify: 1 checks (1 skipped), all as promised\n"}},
		"losses": {func(b *bytes.Buffer) {
			Checks(b, &verify.Report{Checks: []*verify.Check{{Name: "quarantine", Of: "entries", Checked: 2, Skipped: "x", Losses: 2}}})
		}, []string{"verify: 1 checks, all as promised; reports of earlier losses: 2 (see quarantine above)\n"}},
		"capacity": {func(b *bytes.Buffer) {
			_ = Capacity(b, &collector.Capacity{Bytes: map[string]int64{"store": 5}, BytesTotal: 5, DaysLeft: &left, Limit: "data.bytes_max"})
		}, []string{"store", "data.bytes_max is reached in 2.5 days"}},
		"forgotten": {func(b *bytes.Buffer) {
			_ = Forgotten(b, &admin.ForgetAnswer{Left: []string{evil}, Forgotten: catalogue.Forgotten{Objects: []catalogue.ForgottenObject{
				{Key: evil, Holds: "certain"}, {Key: "k", Holds: "possible"}, {Key: "k", Holds: "reopened"},
			}}}, true)
		}, []string{"would be forgotten", "CONTAINS THE PATHS", "may contain the paths", "will be rewritten without the paths"}},
		"repeated": {func(b *bytes.Buffer) { Repeated(b, []reader.Repeated{{Key: evil, Responses: 2, Of: 3}}) }, []string{"2 of its 3 responses"}},
		"archive":  {func(b *bytes.Buffer) { Archive(b, &reader.Report{}) }, []string{"all as it should be"}},
		"rebuilt": {func(b *bytes.Buffer) {
			Rebuilt(b, &restore.Rebuilt{Rebuilt: &reader.Rebuilt{}, Local: &restore.Comparison{Different: 1, Examples: []string{evil}}})
		}, []string{"1 differ"}},
		"reloaded": {func(b *bytes.Buffer) { _ = Reloaded(b, &traffic.Reloaded{Traffic: []string{"log.level"}}) }, []string{"in effect: log.level"}},
		"the same": {func(b *bytes.Buffer) { _ = Reloaded(b, &traffic.Reloaded{}) }, []string{"nothing has changed"}},
		"listing":  {func(b *bytes.Buffer) { _ = (&Listing{Bucket: []uploader.Object{{Key: evil}}, Objects: 1}).Print(b) }, []string{"a·[2Jb"}},
	} {
		var b bytes.Buffer
		c.write(&b)
		for _, want := range c.want {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s: no %q in %q", name, want, b.String())
			}
		}
		if strings.Contains(b.String(), "\x1b") {
			t.Errorf("%s: %q", name, b.String())
		}
	}
}

package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/process/books"
	"github.com/wayside-proxy/wayside/uploader"
)

// archive checks the archive by writing, reading, listing and deleting an object.
func (d *doctor) archive(ctx context.Context) {
	const check = "archive"
	target, err := books.OpenTarget(ctx, d.cfg, d.log)
	if err != nil {
		d.fail(check, "", "%v", err)
		return
	}
	if strings.HasPrefix(d.cfg.ArchiveURL(), "file://"+d.cfg.Data.Dir+"/") {
		if _, err := os.Stat(d.cfg.Data.Dir); errors.Is(err, os.ErrNotExist) {
			d.skip(check, "it is in the data directory, which does not exist yet")
			return
		}
		d.warn(check, "name another place with archive.url", "%s is in the data directory: if this disk is lost, both are lost", target)
	}
	ctx, cancel := context.WithTimeout(ctx, networkTimeout)
	defer cancel()
	// The object has a different name from the one that a running wayside uses to test its archive, because that wayside deletes its test
	// object.
	stays, err := uploader.Probe(ctx, target, d.cfg.Service, d.cfg.Instance+"-doctor", time.Now())
	if err != nil {
		d.fail(check, adviceForArchive(err), "%s cannot be used: %v", target, err)
		return
	}
	if stays != nil {
		d.warn(check, "wayside does not need permission to delete; if the test object bothers you, delete it yourself", "%s: an object was written and read, but could not be deleted: %v", target, stays)
	}
	enough := errors.New("one is enough")
	if err := target.List(ctx, "v1/", func(uploader.ObjectInfo) error { return enough }); err != nil && !errors.Is(err, enough) {
		d.warn(check, "grant permission to list the bucket: wayside archive ls, verify and rebuild need it",
			"%s: objects can be written and read but not listed: %v", target, err)
		return
	}
	d.ok(check, "%s: an object was written, read and listed", target)
}

func adviceForArchive(err error) string {
	text := err.Error()
	for _, known := range []struct{ part, advice string }{
		{"RequestTimeTooSkewed", "set this machine's clock"},
		{"NoSuchBucket", "create the bucket, or correct archive.url"},
		{"bucket", "create the bucket, or correct archive.url; check the keys and what they may do"},
		{"InvalidAccessKeyId", "correct the access key"},
		{"SignatureDoesNotMatch", "correct the secret key"},
		{"AccessDenied", "grant these keys the rights to put and get objects under the prefix"},
		{"certificate", "set archive.ca_file to the certificate of your authority"},
		{"connection refused", "start the server, or correct the endpoint"},
		{"no such host", "correct the endpoint, or the region"},
		{"permission denied", "make the directory writable for uid " + user()},
	} {
		if strings.Contains(text, known.part) {
			return known.advice
		}
	}
	return "events stay in the data directory until it can be used"
}

func user() string { return fmt.Sprint(os.Getuid()) }

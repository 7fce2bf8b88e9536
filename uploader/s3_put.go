package uploader

import (
	"context"
	"crypto/md5" //nolint:gosec // see Put
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"sync"

	"github.com/minio/minio-go/v7"
)

// checksum is the type of checksum that is sent with an object. A bucket with a default retention (Object Lock) rejects objects without a
// checksum. Some servers reject one of the two types.
type checksum int32

const (
	checksumMD5    checksum = iota // Content-MD5
	checksumSHA256                 // x-amz-checksum-sha256
	checksumNone
	checksums // the number of types
)

// digests are the hashes of one body.
type digests struct{ md5, sha256 []byte }

// Put sends the object with a type of checksum that the server accepts. It remembers the type for the next object.
func (t *s3Target) Put(ctx context.Context, key string, body io.ReadSeeker, size int64, meta map[string]string) error {
	//nolint:gosec // the protocol's checksum against damage in transit; objects are verified with SHA-256
	weak, strong := md5.New(), sha256.New()
	n, err := copyFromStart(io.MultiWriter(weak, strong), body)
	if err != nil {
		return fmt.Errorf("hash %s: %w", key, err)
	}
	if n != size {
		return fmt.Errorf("write %s: the body has %d bytes, not %d", key, n, size)
	}
	sums := digests{weak.Sum(nil), strong.Sum(nil)}
	before := checksum(t.checksum.Load())
	var first error
	for i := range checksums {
		c := (before + i) % checksums
		err := t.putOnce(ctx, key, body, size, sums, meta, c)
		if err == nil {
			t.checksum.Store(int32(c))
			return nil
		}
		if first == nil {
			first = err
		}
		if !refusesChecksum(err) {
			break
		}
	}
	return t.hint.explain("write "+key+" to "+t.name, first)
}

// putOnce sends the object with If-None-Match, so a server that already has the object can reject the request. It falls back to a plain
// PUT if the server does not support the header, or has something else under the key: a truncated upload, or the object that another
// version wrote for the same plan. Keys contain the epoch, so no other process writes under them.
func (t *s3Target) putOnce(ctx context.Context, key string, body io.ReadSeeker, size int64, sums digests, meta map[string]string, c checksum) error {
	refused := false
	if !t.unconditional.Load() {
		err := t.put(ctx, key, body, size, sums, meta, c, true)
		switch {
		case err == nil:
			return nil
		case isPrecondition(err), isCut(err) && t.exists(ctx, key):
			if t.holds(ctx, key, hex.EncodeToString(sums.sha256), size, meta) {
				return nil
			}
			t.logger.Warn("archive object differs from its plan; writing it again", "key", key, "target", t.name)
		case isUnsupported(err):
			refused = true
		case isDenied(err) && strings.HasSuffix(key, objectSuffix) && t.holds(ctx, key, hex.EncodeToString(sums.sha256), size, meta):
			return nil // the object was sent earlier and is locked
		default:
			return err
		}
	}
	err := t.put(ctx, key, body, size, sums, meta, c, false)
	if err == nil && refused {
		t.unconditional.Store(true)
	}
	return err
}

func (t *s3Target) put(ctx context.Context, key string, body io.ReadSeeker, size int64, sums digests, meta map[string]string, c checksum, ifAbsent bool) error {
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return err
	}
	// Content-Encoding is not set: clients and gateways must not unpack the object, which is a gzip file.
	o := minio.PutObjectOptions{UserMetadata: meta, ContentType: "application/gzip", DisableContentSha256: true}
	if ifAbsent {
		o.SetMatchETagExcept("*")
	}
	contentMD5 := ""
	switch c {
	case checksumMD5:
		contentMD5 = base64.StdEncoding.EncodeToString(sums.md5)
	case checksumSHA256:
		o.UserMetadata = maps.Clone(meta)
		if o.UserMetadata == nil {
			o.UserMetadata = map[string]string{}
		}
		o.UserMetadata["x-amz-checksum-sha256"] = base64.StdEncoding.EncodeToString(sums.sha256) // minio passes this header on without a prefix
	}
	attempt := &attemptBody{r: body}
	defer attempt.end()
	_, err := t.core.PutObject(ctx, t.bucket, t.prefix+key, attempt, size, contentMD5, hex.EncodeToString(sums.sha256), o)
	return err
}

// attemptBody gives one request temporary access to a body. A server may respond before it has read the whole body (with 412, for
// example), and net/http may continue to read for a moment after the request has returned. Without attemptBody, the old and the new
// request would then read from the same position in the body.
type attemptBody struct {
	mu    sync.Mutex
	r     io.ReadSeeker
	ended bool // guarded by mu
}

var errAttemptEnded = errors.New("read of a body whose request has ended")

func (a *attemptBody) Read(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return 0, errAttemptEnded
	}
	return a.r.Read(p)
}

func (a *attemptBody) Seek(offset int64, whence int) (int64, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return 0, errAttemptEnded
	}
	return a.r.Seek(offset, whence)
}

// end waits for a read in progress and makes all later reads fail.
func (a *attemptBody) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = true
}

// exists reports whether the server definitely has an object under key.
func (t *s3Target) exists(ctx context.Context, key string) bool {
	_, err := t.Stat(ctx, key)
	return err == nil
}

// holds reports whether the server has exactly this object. It returns false if it cannot find out.
func (t *s3Target) holds(ctx context.Context, key, sum string, size int64, meta map[string]string) bool {
	body, got, err := t.Get(ctx, key)
	if err != nil {
		return false
	}
	defer body.Close()
	hash := sha256.New()
	n, err := io.Copy(hash, io.LimitReader(body, size+1))
	return err == nil && n == size && hex.EncodeToString(hash.Sum(nil)) == sum && metaDiffers(meta, got) == ""
}

func copyFromStart(dst io.Writer, src io.ReadSeeker) (int64, error) {
	if _, err := src.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	return io.Copy(dst, src)
}

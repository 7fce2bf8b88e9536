package uploader

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/minio/minio-go/v7"
)

// iamTimeout bounds one question to a metadata service, which outside a cloud nobody answers.
const iamTimeout = 5 * time.Second

// s3Hints turns the errors of S3 servers into ones that say what to do.
type s3Hints struct {
	bucket, region, endpoint string
}

// explain wraps err with the action and a hint. A missing object becomes ErrNotFound.
func (h s3Hints) explain(action string, err error) error {
	r := minio.ToErrorResponse(err)
	if r.Code == "NoSuchKey" || (r.StatusCode == http.StatusNotFound && r.Code != "NoSuchBucket") {
		return fmt.Errorf("%s: %w", action, ErrNotFound)
	}
	if hint := h.hint(err, r); hint != "" {
		return fmt.Errorf("%s: %w (%s)", action, err, hint)
	}
	return fmt.Errorf("%s: %w", action, err)
}

func (h s3Hints) hint(err error, r minio.ErrorResponse) string {
	switch r.Code {
	case "NoSuchBucket":
		return "create the bucket " + h.bucket + ", or name another one in archive"
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidClientTokenId":
		return "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
	case "ExpiredToken", "TokenRefreshRequired":
		return "the temporary credentials have expired: renew them"
	case "RequestTimeTooSkewed":
		return "the clock of this machine or of the server is wrong"
	case "AuthorizationHeaderMalformed", "PermanentRedirect", "InvalidRegion", "IllegalLocationConstraintException":
		return "set region= to the bucket's region, now " + h.region
	case "AccessDenied", "AllAccessDisabled":
		return "the key needs s3:PutObject and s3:GetObject on " + h.bucket + "/*, and s3:ListBucket on " + h.bucket
	}
	if r.StatusCode == http.StatusMovedPermanently || r.StatusCode == http.StatusTemporaryRedirect {
		return "set region= to the bucket's region, now " + h.region
	}
	return h.networkHint(err)
}

func (h s3Hints) networkHint(err error) string {
	var dns *net.DNSError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.Is(err, context.Canceled):
		return ""
	case errors.As(err, &unknown):
		return "the server's certificate is not trusted: name its CA in archive.ca_file or SSL_CERT_FILE"
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return "the endpoint speaks plain HTTP: write it as http://…"
	case errors.As(err, &dns):
		return "check endpoint=, and path_style=true where buckets are not host names"
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "nothing answers there: check endpoint= and the server"
	case errors.Is(err, context.DeadlineExceeded):
		return "the server did not answer in time"
	}
	return ""
}

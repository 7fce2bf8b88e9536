package uploader

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/minio/minio-go/v7"
)

// iamTimeout limits one request to a metadata service. Outside a cloud, there is no response.
const iamTimeout = 5 * time.Second

// s3Hints adds to the errors of S3 servers a hint about what the operator can do.
type s3Hints struct {
	bucket, region, endpoint string
}

// remoteTextMax is the maximum number of bytes of a server's text that are quoted.
const remoteTextMax = 300

// remoteError is an error with text from a server, made safe to log. errors.Is finds its cause.
type remoteError struct {
	text  string
	cause error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.cause }

// missing reports whether a server said that the object does not exist. It returns false for a 404 with any other reason, such as a
// missing bucket or a wrong access key.
func missing(err error) bool {
	r := minio.ToErrorResponse(err)
	return r.Code == "NoSuchKey" && r.StatusCode == http.StatusNotFound
}

// explain adds the action and a hint to an error.
func (h s3Hints) explain(action string, err error) error {
	r := minio.ToErrorResponse(err)
	text, hint := printable(err.Error(), remoteTextMax), h.hint(err, r)
	var foreign *foreignError
	switch {
	case errors.As(err, &foreign):
		text, hint = foreign.text, foreign.hint
	case r.StatusCode != 0 && strings.HasPrefix(r.Code, strconv.Itoa(r.StatusCode)): // the server sent no code of its own
		text = "HTTP " + printable(r.Code, 64)
	case r.StatusCode != 0:
		text = fmt.Sprintf("HTTP %d %s: %s", r.StatusCode, printable(r.Code, 64), text)
	}
	text = printable(action, remoteTextMax) + ": " + text
	if hint != "" {
		text += " (" + hint + ")"
	}
	return &remoteError{text, err}
}

func (h s3Hints) hint(err error, r minio.ErrorResponse) string {
	switch r.Code {
	case "NoSuchBucket":
		return "create the bucket " + h.bucket + ", or set archive.url to another one"
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidClientTokenId", "NoSuchUser", "InvalidAccessKey", "AuthFailure":
		return "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
	case "ExpiredToken", "TokenRefreshRequired":
		return "the temporary credentials have expired: renew them"
	case "RequestTimeTooSkewed":
		return "the clock of this machine or of the server is wrong"
	case "AuthorizationHeaderMalformed", "PermanentRedirect", "InvalidRegion", "IllegalLocationConstraintException":
		return "set region= to the bucket's region, now " + h.region
	case "AccessDenied", "AllAccessDisabled":
		return "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; the key needs s3:PutObject and s3:GetObject on " + h.bucket + "/*, and s3:ListBucket on " + h.bucket
	}
	if r.StatusCode == http.StatusMovedPermanently || r.StatusCode == http.StatusTemporaryRedirect {
		return "set region= to the bucket's region, now " + h.region
	}
	switch r.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and what the key may do"
	case http.StatusNotFound:
		return hintNotFound
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
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"),
		strings.Contains(err.Error(), "does not look like a TLS handshake"):
		return "the endpoint speaks plain HTTP: write it as http://…"
	case errors.As(err, &dns):
		return "check endpoint=, and set path_style=true if bucket names are not part of host names"
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "nothing responds at this address: check endpoint= and the server"
	case errors.Is(err, context.DeadlineExceeded):
		return "the server did not respond in time"
	}
	return ""
}

// isPrecondition recognizes responses to If-None-Match that say that the object exists. Older MinIO servers send 304, and AWS sends 409
// while another upload of the same object is in progress.
func isPrecondition(err error) bool {
	r := minio.ToErrorResponse(err)
	return r.StatusCode == http.StatusPreconditionFailed || r.StatusCode == http.StatusNotModified || r.Code == "ConditionalRequestConflict"
}

// isDenied recognizes the response to an access key that has no permission to write. Some servers also send it if the object is locked.
func isDenied(err error) bool { return minio.ToErrorResponse(err).Code == "AccessDenied" }

// refusesChecksum recognizes the responses of servers that want another checksum, or none. It does not include BadDigest, which means
// that the body was damaged in transit.
func refusesChecksum(err error) bool {
	switch minio.ToErrorResponse(err).Code {
	case "InvalidRequest", "InvalidArgument", "InvalidDigest", "MissingContentMD5", "NotImplemented":
		return true
	}
	return isUnsupported(err)
}

// isCut recognizes a connection that ended without a response. A server that rejects a request before it has read the body may close the
// connection, and its response is then lost.
func isCut(err error) bool {
	var op *net.OpError
	var foreign *foreignError
	dial := errors.As(err, &op) && op.Op == "dial"
	return !errors.As(err, &foreign) && minio.ToErrorResponse(err).StatusCode == 0 && !dial && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}

// isUnsupported recognizes the responses of servers that do not support If-None-Match in a PUT.
func isUnsupported(err error) bool {
	r := minio.ToErrorResponse(err)
	return r.StatusCode == http.StatusNotImplemented || r.Code == "NotImplemented"
}

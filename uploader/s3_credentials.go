package uploader

import (
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"github.com/minio/minio-go/v7/pkg/credentials"
)

// awsCredentials returns the usual chain of credential providers. If none of them has credentials, the result is an error rather than
// anonymous requests.
func awsCredentials(o TargetOptions) *credentials.Credentials {
	if o.AccessKey != "" {
		return credentials.NewStaticV4(o.AccessKey, o.SecretKey, "")
	}
	return credentials.New(&chain{Chain: credentials.Chain{Providers: []credentials.Provider{
		&credentials.EnvAWS{},
		&credentials.FileAWSCredentials{},
		roleCredentials(),
	}}})
}

// roleCredentials gets the credentials of a role from the service that issues them: STS for a pod's token file, the endpoint of a
// container, or the metadata service of an instance. minio's provider supports the usual environment variables of all three, except those
// that change an endpoint or turn off the metadata service.
func roleCredentials() credentials.Provider {
	p := &credentials.IAM{Client: &http.Client{Timeout: iamTimeout, Transport: roleTransport()}}
	inContainer := os.Getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") != "" || os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI") != ""
	switch {
	case os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE") != "":
		p.Endpoint = os.Getenv("AWS_ENDPOINT_URL_STS")
	case inContainer:
	case strings.EqualFold(os.Getenv("AWS_EC2_METADATA_DISABLED"), "true"):
		return noRole{}
	default:
		p.Endpoint = os.Getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT")
	}
	return p
}

// roleTransport uses the proxy from the environment, except for addresses on this machine or on its local link: a request through a proxy
// would return the credentials of the proxy's role.
func roleTransport() http.RoundTripper {
	base, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return http.DefaultTransport
	}
	t := base.Clone()
	t.Proxy = func(r *http.Request) (*url.URL, error) {
		ip, err := netip.ParseAddr(r.URL.Hostname())
		// The metadata services have the IPv6 addresses fd00:ec2::254 and fd00:ec2::23.
		if err == nil && (ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.Is6() && ip.IsPrivate()) {
			return nil, nil // no proxy
		}
		return http.ProxyFromEnvironment(r)
	}
	return t
}

// noRole is a provider without credentials.
type noRole struct{}

func (noRole) RetrieveWithCredContext(*credentials.CredContext) (credentials.Value, error) {
	return credentials.Value{}, errNoCredentials
}
func (noRole) Retrieve() (credentials.Value, error) { return credentials.Value{}, errNoCredentials }
func (noRole) IsExpired() bool                      { return true }

var errNoCredentials = errors.New("no AWS credentials found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile in ~/.aws/credentials, or a role for the pod or instance")

// chain is like credentials.Chain, but fails if it finds nothing.
type chain struct{ credentials.Chain }

// RetrieveWithCredContext implements credentials.Provider.
func (c *chain) RetrieveWithCredContext(cc *credentials.CredContext) (credentials.Value, error) {
	v, err := c.Chain.RetrieveWithCredContext(cc)
	if err == nil && v.AccessKeyID == "" {
		return v, errNoCredentials
	}
	return v, err
}

// Retrieve implements credentials.Provider.
func (c *chain) Retrieve() (credentials.Value, error) { return c.RetrieveWithCredContext(nil) }

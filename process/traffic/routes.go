package traffic

import (
	"cmp"
	"mime"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/proxy"
)

// proxyRoutes converts the routes in the configuration for the proxy. The files that they name were read together with the configuration.
func proxyRoutes(cfg *configs.Config) []proxy.Route {
	routes := make([]proxy.Route, 0, len(cfg.Routes))
	for i := range cfg.Routes {
		r := &cfg.Routes[i]
		to := proxy.Route{
			Name: r.Name, Conditions: routeConditions(r), Redirect: r.Redirect, Respond: routeResponse(r.Respond),
			StripPrefix: r.StripPrefix, RewriteHost: r.RewriteHost, Allow: routeNetworks(r.Allow),
			RequestFields: proxy.FieldRules(r.RequestFields), ResponseFields: proxy.FieldRules(r.ResponseFields),
		}
		if r.AuthFile != "" {
			to.Users = cmp.Or(string(r.Auth), noUsers)
		}
		for _, t := range r.To {
			to.To = append(to.To, proxy.RouteTarget{Group: t.Upstream, Weight: t.Weight})
		}
		if r.ResponseTimeout != nil {
			to.ResponseTimeout = r.ResponseTimeout.OrOff()
		}
		if r.BodyBytesMax != nil {
			to.MaxRequestBodyBytes = cmp.Or(r.BodyBytesMax.Int64(), -1)
		}
		routes = append(routes, to)
	}
	return routes
}

// noUsers makes the proxy reject a route whose file of users has not been read. With an empty string, the route would be open to
// everyone.
const noUsers = "# not read"

func routeConditions(r *configs.Route) proxy.RouteConditions {
	c := proxy.RouteConditions{Host: r.Host, Path: r.Path, Methods: r.Methods}
	for name, value := range r.Headers {
		c.Headers = append(c.Headers, proxy.HeaderCondition{Name: name, Value: value})
	}
	slices.SortFunc(c.Headers, func(a, b proxy.HeaderCondition) int { return cmp.Compare(a.Name, b.Name) })
	return c
}

// routeNetworks parses addresses and networks, which have already been validated.
func routeNetworks(list []string) (networks []netip.Prefix) {
	for _, s := range list {
		if prefix, err := netip.ParsePrefix(s); err == nil {
			networks = append(networks, prefix.Masked())
		} else if addr, err := netip.ParseAddr(s); err == nil {
			networks = append(networks, netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()))
		}
	}
	return networks
}

// plainText is the media type of a body in the configuration, and of a file whose name does not reveal its type.
const plainText = "text/plain; charset=utf-8"

func routeResponse(r *configs.Respond) *proxy.RouteResponse {
	if r == nil {
		return nil
	}
	response := &proxy.RouteResponse{Status: r.Status, Body: []byte(r.Content())}
	switch {
	case len(response.Body) == 0:
	case r.BodyFile == "":
		response.ContentType = plainText
	default:
		response.ContentType = cmp.Or(mime.TypeByExtension(filepath.Ext(r.BodyFile)), plainText)
	}
	if len(response.Body) == 0 && r.Status >= http.StatusBadRequest { // an error page is more helpful than an empty body
		response.Body, response.ContentType = []byte(http.StatusText(r.Status)+"\n"), plainText
	}
	return response
}

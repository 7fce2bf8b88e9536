package query

import (
	"fmt"
	"strings"

	"github.com/wayside-proxy/wayside/internal/event"
)

// GRPCForms describes the lists that [ParseGRPC] accepts, for error messages and help texts.
const GRPCForms = "gRPC status codes from 0 to 16 or their names (14, UNAVAILABLE), other, and error, separated by commas"

// GRPCCodes is a set of gRPC status codes. A nil set stands for any response, including responses to requests that are
// not gRPC calls.
type GRPCCodes [event.GRPCCodeOther + 1]bool // by code; the last element is for codes that gRPC does not define

// ParseGRPC parses a list of gRPC status codes in the forms of [GRPCForms]. For an empty text, it returns nil. "error" stands for every
// code that means a server error. The error message lists the forms.
func ParseGRPC(text string) (*GRPCCodes, error) {
	if text == "" {
		return nil, nil // any response
	}
	set := new(GRPCCodes)
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if strings.EqualFold(part, "error") {
			for code := range set {
				set[code] = set[code] || event.GRPCOf(code).IsError()
			}
			continue
		}
		code, ok := event.GRPCCode(part)
		if !ok {
			return nil, fmt.Errorf("%q is not a gRPC status: use %s", part, GRPCForms)
		}
		set[code] = true
	}
	return set, nil
}

// HasCode reports whether a code is in the set.
func (s *GRPCCodes) HasCode(code int) bool {
	return s == nil || code >= 0 && code < len(s) && s[code]
}

// Has reports whether the set contains the status of an event.
func (s *GRPCCodes) Has(status event.GRPCStatus) bool {
	code, ok := status.Code()
	return s == nil || ok && s[code]
}

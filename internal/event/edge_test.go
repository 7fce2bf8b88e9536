package event

import (
	"bytes"
	"crypto/tls"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// goldenWithEdge returns events of version 4: one with all fields, and one with only a gRPC status.
func goldenWithEdge() []Event {
	a, b := goldenWithTimes()[0], goldenEvents()[0]
	a.Route, a.Attempts, a.TLSVersion = []byte("api"), 2, tls.VersionTLS13
	a.Protocol = []byte("2")
	b.Path, b.Method, b.GRPCStatus = []byte("/shop.Cart/AddItem"), []byte("POST"), GRPCOf(14)
	return []Event{a, b}
}

// Fields that only an edge proxy sets have a record version of their own. A record of that version in which none of these
// fields is set is rejected.
func TestEdgeGolden(t *testing.T) {
	for i, want := range goldenWithEdge() {
		raw := golden(t, []string{"record-edge.v4.hex", "record-grpc.v4.hex"}[i], encode(&want))
		var got Event
		if err := got.Decode(raw); err != nil || raw[0] != 4 {
			t.Fatal(err, raw[0])
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("decoded event differs (-want +got):\n%s", diff)
		}
	}
	plain := goldenEvents()[2]
	base := append(encode(&plain), 0, 0, 0) // no ID, and two times of 0
	base[0] = 4
	for _, c := range []struct {
		edge []byte // route, attempts, TLS version, gRPC status
		ok   bool
	}{
		{[]byte{0, 0, 0, 0}, false},
		{[]byte{0, 1, 4, 0}, false}, // one attempt is written as 0
		{[]byte{0, 0, tlsCodeMax + 1, 0}, false},
		{[]byte{0, 0, 0, grpcMax + 1}, false},
		{[]byte{RouteBytesMax + 1}, false},
		{[]byte{1, 'r', 0, 0, 0}, true},
		{[]byte{0, 2, 0, 0}, true},
		{[]byte{0, 0, 4, 0}, true},
		{[]byte{0, 0, 0, byte(GRPCAbsent)}, true},
	} {
		if err := new(Event).Decode(append(bytes.Clone(base), c.edge...)); (err == nil) != c.ok {
			t.Errorf("%v: %v", c.edge, err)
		}
	}
}

// Events without these fields must not grow: one attempt in cleartext is the usual case.
func TestEdgeCostsNothing(t *testing.T) {
	e := goldenEvents()[0]
	before := encode(&e)
	e.Attempts, e.TLSVersion = 1, 0xffff // a version that does not exist
	if after := encode(&e); !bytes.Equal(before, after) {
		t.Errorf("%x became %x", before, after)
	}
}

func TestGRPCStatus(t *testing.T) {
	for _, c := range []struct {
		value   string
		code    int
		ok, bad bool // whether it has a code, and whether it is an error
	}{
		{"", 0, false, false},
		{"0", 0, true, false},
		{"1", 1, true, false},
		{"2", 2, true, true},
		{"4", 4, true, true},
		{"5", 5, true, false},
		{"12", 12, true, true},
		{"13", 13, true, true},
		{"14", 14, true, true},
		{"15", 15, true, true},
		{"16", 16, true, false},
		{"17", GRPCCodeOther, true, true},
		{"00", GRPCCodeOther, true, true},
		{"-1", GRPCCodeOther, true, true},
		{"2 ", GRPCCodeOther, true, true},
		{"UNKNOWN", GRPCCodeOther, true, true},
	} {
		s := ParseGRPCStatus([]byte(c.value))
		if code, ok := s.Code(); code != c.code || ok != c.ok || s.IsError() != c.bad || s == GRPCNone {
			t.Errorf("%q: code %d, %t, error %t", c.value, code, ok, s.IsError())
		}
		if c.ok && GRPCOf(c.code) != s {
			t.Errorf("%q: %d is not %d", c.value, GRPCOf(c.code), s)
		}
		if code, ok := GRPCCode(GRPCName(c.code)); !ok || code != c.code {
			t.Errorf("%d is named %q, which is %d", c.code, GRPCName(c.code), code)
		}
	}
	if _, ok := GRPCNone.Code(); ok || GRPCNone.IsError() {
		t.Error("a request that is no call has a status")
	}
	for content, want := range map[string]bool{
		"application/grpc": true, "application/grpc+proto": true, "Application/GRPC; x=1": true, "application/grpc-web": true,
		"application/grpcx": false, "application/json": false, "": false,
	} {
		if got := IsGRPCContent([]byte(content)); got != want {
			t.Errorf("%q: %t", content, got)
		}
	}
}

func TestTLSVersion(t *testing.T) {
	for version, want := range map[uint16]string{0: "", tls.VersionTLS12: "1.2", tls.VersionTLS13: "1.3", 0x0300: "", 0x0400: ""} {
		e := Event{TLSVersion: version}
		back, ok := ParseTLSProtocol(want)
		if got := e.TLSProtocol(); got != want || !ok || want != "" && back != version {
			t.Errorf("%x: %q, and back %x", version, got, back)
		}
	}
	if _, ok := ParseTLSProtocol("3"); ok {
		t.Error("3 is a version")
	}
}

// Package wayside holds what belongs to the binary as a whole: its licences.
package wayside

import _ "embed" // for the texts below

// License, Notice and ThirdParty are wayside's own licence, its notice, and the licences and notices of everything that is linked into
// the binary. ThirdParty is written by go test . -run TestThirdPartyLicenses -update.
var (
	//go:embed LICENSE
	License string
	//go:embed NOTICE
	Notice string
	//go:embed THIRD_PARTY_LICENSES
	ThirdParty string
)

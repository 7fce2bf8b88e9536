// Package wayside embeds the licenses of the binary.
package wayside

import _ "embed" // for the texts below

// License and Notice are those of wayside itself. ThirdParty has the licenses and notices of everything that is linked into the binary;
// go test . -run TestThirdPartyLicenses -update writes it.
var (
	//go:embed LICENSE
	License string
	//go:embed NOTICE
	Notice string
	//go:embed THIRD_PARTY_LICENSES
	ThirdParty string
)

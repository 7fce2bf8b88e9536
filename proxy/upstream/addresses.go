package upstream

import (
	"net/netip"
	"slices"
)

const (
	// AddressesMax is the largest number of addresses used for one name.
	AddressesMax = 256
	// missesMax is the number of consecutive lookups without an address after which the address is no longer used. One lookup is not
	// enough, because many name servers return only some of the addresses each time.
	missesMax = 2
)

// Addresses keeps track of the addresses of a name over time. The caller must hold a lock while calling its methods.
type Addresses struct {
	known  []netip.Addr
	misses map[netip.Addr]int
}

// Update takes the result of a successful lookup and returns the addresses to use. New addresses are used immediately. Old addresses are
// used until missesMax consecutive lookups have not returned them. At most half of the addresses are removed at a time, so that the rest
// can carry the load.
func (a *Addresses) Update(found []netip.Addr) []netip.Addr {
	if a.misses == nil {
		a.misses = make(map[netip.Addr]int)
	}
	seen := make(map[netip.Addr]bool, len(found))
	for _, addr := range found {
		addr = addr.Unmap()
		seen[addr] = true
		if !slices.Contains(a.known, addr) && len(a.known) < AddressesMax {
			a.known = append(a.known, addr)
		}
	}
	may := (len(a.known) + 1) / 2
	a.known = slices.DeleteFunc(a.known, func(addr netip.Addr) bool {
		if seen[addr] {
			delete(a.misses, addr)
			return false
		}
		a.misses[addr]++
		if a.misses[addr] < missesMax || may == 0 {
			return false
		}
		may--
		delete(a.misses, addr)
		return true
	})
	return slices.Clone(a.known)
}

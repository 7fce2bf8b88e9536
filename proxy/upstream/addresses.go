package upstream

import (
	"net/netip"
	"slices"
)

const (
	// AddressesMax is the number of addresses of a name that are used at most.
	AddressesMax = 256
	// missesMax is the number of successive lookups without an address after which it is not used any more. One is not enough: many name
	// servers return only a part of the addresses each time.
	missesMax = 2
)

// Addresses are the addresses of a name, followed over time. The caller holds a lock.
type Addresses struct {
	known  []netip.Addr
	misses map[netip.Addr]int
}

// Update takes the result of a lookup that has succeeded, and returns the addresses to use: new ones at once, and old ones until several
// lookups have not found them. In one step, at most half of the addresses go, so that the rest carries the load meanwhile.
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

package main

import (
	"net"
	"net/netip"
	"slices"
	"time"
)

// followGrace is the longest time after which a change of the DNS name must have taken effect: several lookups, which are a second apart,
// and a response, on a busy machine.
const followGrace = 8 * time.Second

// naming is the list of addresses that the DNS name has from a given time on.
type naming struct {
	at    time.Time
	addrs []netip.Addr
}

func (t *topologyTrial) setName(addrs []netip.Addr) {
	t.resolver.set(addrs)
	t.names = append(t.names, naming{time.Now(), addrs})
}

// changeName gives the DNS name one to three of its four possible addresses. At least one of the previous addresses stays.
func (t *topologyTrial) changeName() {
	before := t.names[len(t.names)-1].addrs
	stays := before[t.random.IntN(len(before))]
	addrs := []netip.Addr{stays}
	for _, i := range t.random.Perm(len(namedAddresses))[:t.random.IntN(3)] {
		if addr := netip.MustParseAddr(namedAddresses[i]); addr != stays {
			addrs = append(addrs, addr)
		}
	}
	t.setName(addrs)
}

// following counts the periods in which the DNS name had an address: added is the number of periods that were long enough, and used is
// the number of those in which the address was used.
type following struct{ added, used int }

// compareNames checks which of the servers behind the DNS name have responded, and compares this with the addresses that the name had. No
// response may come from an address that the name has not had for followGrace, and each address that it has had for that long must have
// been used.
func (t *topologyTrial) compareNames(v *verdict) (sum following) {
	times := map[string][]time.Time{}
	for i := range t.traffic.results {
		if r := &t.traffic.results[i]; r.origin != "" {
			times[r.origin] = append(times[r.origin], t.traffic.begin.Add(r.begin))
		}
	}
	for _, o := range t.others {
		for _, p := range t.periodsOf(o) {
			if p.to.Sub(p.from) < followGrace {
				continue
			}
			within := slices.ContainsFunc(times[o.name], func(at time.Time) bool { return !at.Before(p.from) && at.Before(p.to) })
			late := slices.ContainsFunc(times[o.name], func(at time.Time) bool { return at.After(p.from.Add(followGrace)) && at.Before(p.to) })
			switch {
			case !p.listed && late:
				v.wrong("name", "%s has answered %v after its address had been removed", o.name, followGrace)
			case p.listed && !within:
				v.wrong("name", "%s was not used in the %v in which the name had its address", o.name, p.to.Sub(p.from))
			}
			if p.listed {
				sum.added++
				if within {
					sum.used++
				}
			}
		}
	}
	return sum
}

// period is a time span in which the DNS name had an address, or did not have it.
type period struct {
	from, to time.Time
	listed   bool
}

// periodsOf returns the periods of a server's address from the beginning to the end of the traffic.
func (t *topologyTrial) periodsOf(o *origin) (list []period) {
	ip, _, _ := net.SplitHostPort(o.address)
	addr, end := netip.MustParseAddr(ip), t.traffic.begin
	for i := range t.traffic.results {
		if at := t.traffic.begin.Add(t.traffic.results[i].end); at.After(end) {
			end = at
		}
	}
	for _, n := range t.names {
		listed, from := slices.Contains(n.addrs, addr), n.at
		if from.Before(t.traffic.begin) {
			from = t.traffic.begin
		}
		if last := len(list) - 1; last < 0 || list[last].listed != listed {
			if last >= 0 {
				list[last].to = from
			}
			list = append(list, period{from, end, listed})
		}
	}
	return list
}

package main

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"

	"golang.org/x/net/dns/dnsmessage"
)

// resolverAddress is the address on which the resolver of this command listens. The port is always 53, because resolv.conf cannot contain
// ports.
const resolverAddress = "127.0.53.53"

// resolver is a DNS server that returns the same list of addresses for every name. The list can be changed.
type resolver struct {
	udp *net.UDPConn
	tcp net.Listener

	mu    sync.Mutex
	addrs []netip.Addr // guarded by mu
}

func startResolver() (*resolver, error) {
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(resolverAddress), Port: 53})
	if err != nil {
		return nil, err
	}
	tcp, err := net.Listen("tcp", resolverAddress+":53")
	if err != nil {
		return nil, errors.Join(err, udp.Close())
	}
	r := &resolver{udp: udp, tcp: tcp}
	go r.serveUDP()
	go r.serveTCP()
	return r, nil
}

func (r *resolver) set(addrs []netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addrs = slices.Clone(addrs)
}

func (r *resolver) close() {
	_ = r.udp.Close()
	_ = r.tcp.Close()
}

func (r *resolver) serveUDP() {
	buf := make([]byte, 4096)
	for {
		n, from, err := r.udp.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if answer := r.answer(buf[:n]); answer != nil {
			_, _ = r.udp.WriteToUDPAddrPort(answer, from)
		}
	}
}

func (r *resolver) serveTCP() {
	for {
		conn, err := r.tcp.Accept()
		if err != nil {
			return
		}
		go func() {
			defer func() { _ = conn.Close() }()
			for {
				var size [2]byte
				if _, err := io.ReadFull(conn, size[:]); err != nil {
					return
				}
				query := make([]byte, binary.BigEndian.Uint16(size[:]))
				if _, err := io.ReadFull(conn, query); err != nil {
					return
				}
				answer := r.answer(query)
				_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
			}
		}()
	}
}

// answer returns the response to a query, or nil if there must be no response.
func (r *resolver) answer(query []byte) []byte {
	var m dnsmessage.Message
	if m.Unpack(query) != nil || len(m.Questions) != 1 {
		return nil
	}
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
		r.mu.Lock()
		for _, addr := range r.addrs {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}, Body: &dnsmessage.AResource{A: addr.As4()},
			})
		}
		r.mu.Unlock()
	}
	answer, err := m.Pack()
	if err != nil {
		return nil
	}
	return answer
}

package proxy

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/crypto/bcrypt"
)

// This file implements Basic authentication (RFC 7617) against bcrypt hashes. Checking one is slow by design: it takes tens of
// milliseconds.

// Limits on password checks.
const (
	credentialsBytesMax = 1024    // length of a name and a password, encoded in base64
	bcryptCostMax       = 16      // a check with this cost takes about four seconds
	verifiedMax         = 4096    // number of passwords that are remembered
	checksWaitingMax    = 64      // checks that are running or waiting, for all clients together
	checksPerAddressMax = 4       // the same for one client address; an IPv6 /64 counts as one
	hashBytes           = 60      // length of a bcrypt hash with its parameters
	basicScheme         = "Basic" // RFC 7617
)

// errUsers is wrapped by errors about Route.Users.
var errUsers = errors.New("users")

// users contains the user names and password hashes of one route.
type users struct {
	hashes map[string][]byte
	decoy  []byte // checked if a name does not exist, so that the response takes as long as for an existing name
}

// newUsers parses NAME:HASH lines. It skips empty lines and lines that begin with #. It returns nil for an empty string.
func newUsers(text string) (*users, error) {
	if text == "" {
		return nil, nil
	}
	u := &users{hashes: map[string][]byte{}}
	costMax, n := 0, 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, hash, _ := strings.Cut(line, ":")
		cost, err := bcrypt.Cost([]byte(hash))
		if err != nil || len(hash) != hashBytes || cost > bcryptCostMax || name == "" {
			return nil, fmt.Errorf("%w: line %d is not NAME:HASH with a bcrypt hash of a cost of at most %d", errUsers, n, bcryptCostMax)
		}
		if _, twice := u.hashes[name]; twice {
			return nil, fmt.Errorf("%w: line %d repeats the name of an earlier line", errUsers, n)
		}
		u.hashes[name] = []byte(hash)
		if cost > costMax {
			costMax, u.decoy = cost, []byte(hash)
		}
	}
	if len(u.hashes) == 0 {
		return nil, fmt.Errorf("%w: there are no users", errUsers)
	}
	return u, nil
}

// authenticate checks the credentials in the request. It returns failNone if they are correct.
func (r *request) authenticate() failure {
	var buf [credentialsBytesMax]byte
	name, password, ok := basicCredentials(r.Value("authorization"), buf[:])
	if !ok {
		return failUnauthorized
	}
	u := r.route.users
	hash, known := u.hashes[string(name)]
	if !known {
		hash = u.decoy
	}
	p := r.c.root.passwords
	key := p.keyOf(name, password, hash)
	if known && p.isVerified(key) {
		return failNone
	}
	addr := limitKey(r.clientAddr())
	if !p.enter(addr) {
		r.c.warn(failAuthBusy)
		return failAuthBusy
	}
	defer p.leave(addr)
	right := false
	r.c.driver.block(func() { right = p.check(key, known, hash, password) })
	if !right || !known {
		return failUnauthorized
	}
	return failNone
}

// basicCredentials parses the value of Authorization. The results point into buf.
func basicCredentials(value, buf []byte) (name, password []byte, ok bool) {
	scheme, encoded, _ := bytes.Cut(value, []byte{' '})
	encoded = bytes.TrimLeft(encoded, " ")
	if !bytes.EqualFold(scheme, []byte(basicScheme)) || len(encoded) > credentialsBytesMax {
		return nil, nil, false
	}
	n, err := base64.StdEncoding.Decode(buf, encoded)
	if err != nil {
		return nil, nil, false
	}
	return bytes.Cut(buf[:n], []byte{':'})
}

// passwords checks passwords and remembers those that were correct. It keeps neither the passwords nor plain hashes of them: its keys
// are hashes that include a secret of this process.
type passwords struct {
	secret  [32]byte
	running chan struct{} // its capacity is the number of checks that may run at the same time

	mu       sync.Mutex
	verified map[[sha256.Size]byte]struct{} // guarded by mu
	entered  int                            // guarded by mu: number of checks that are running or waiting
	byAddr   map[netip.Addr]int             // guarded by mu: the same by address
}

func newPasswords() *passwords {
	p := &passwords{
		running:  make(chan struct{}, max(runtime.NumCPU()/2, 1)), // leave the other CPUs for traffic
		verified: map[[sha256.Size]byte]struct{}{}, byAddr: map[netip.Addr]int{},
	}
	_, _ = rand.Read(p.secret[:]) // never fails
	return p
}

// keyOf returns the key under which credentials are remembered. It depends on the stored hash, so that credentials are checked again if the password
// has been changed.
func (p *passwords) keyOf(name, password, hash []byte) [sha256.Size]byte {
	text := make([]byte, 0, len(p.secret)+credentialsBytesMax+hashBytes+2)
	text = append(text, p.secret[:]...)
	text = append(append(text, name...), ':') // unambiguous, because a name cannot contain a colon
	text = append(append(text, hash...), ':')
	return sha256.Sum256(append(text, password...))
}

func (p *passwords) isVerified(key [sha256.Size]byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.verified[key]
	return ok
}

// enter counts a new check. It returns false if there are too many.
func (p *passwords) enter(addr netip.Addr) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.entered >= checksWaitingMax || p.byAddr[addr] >= checksPerAddressMax {
		return false
	}
	p.entered++
	p.byAddr[addr]++
	return true
}

func (p *passwords) leave(addr netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.entered--
	if p.byAddr[addr]--; p.byAddr[addr] == 0 {
		delete(p.byAddr, addr)
	}
}

// check compares a password with a hash, and remembers the key if the password is correct and the user is known. It blocks.
func (p *passwords) check(key [sha256.Size]byte, known bool, hash, password []byte) bool {
	p.running <- struct{}{}
	defer func() { <-p.running }()
	if known && p.isVerified(key) { // another request with the same credentials has been checked in the meantime
		return true
	}
	if bcrypt.CompareHashAndPassword(hash, password) != nil {
		return false
	}
	if known {
		p.remember(key)
	}
	return true
}

// remember stores a key. If there are too many, it forgets an arbitrary one.
func (p *passwords) remember(key [sha256.Size]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for old := range p.verified {
		if len(p.verified) < verifiedMax {
			break
		}
		delete(p.verified, old)
	}
	p.verified[key] = struct{}{}
}

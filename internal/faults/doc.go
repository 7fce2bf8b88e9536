// Package faults breaks wayside on purpose and proves that the books still add up.
//
// A [Fault] is one way of breaking: kill -9, a power cut, a full disk, a flipped bit. It works in cycles. Each cycle is a
// [trial]: a data directory, the real binary, real traffic in which every request carries a nonce, the fault, a recovery, and
// then the same questions: is every response that a client received in full (or, after a power cut, every one that was
// acknowledged as durable) in the books, or else counted as dropped or quarantined; is nothing in the books that was not
// sent; is nothing in them twice; do all identities of the accounting hold.
//
// Proofs are long and may be made in pieces. What a piece came to is appended to docs/evidence/faults.md together with a hash
// of the code under test ([CodeHash]): pieces add up while that code is unchanged, and only then.
//
// Servers and clients are the harness's own, on loopback. Faults that need root or a kernel feature are skipped loudly where
// that is missing.
package faults

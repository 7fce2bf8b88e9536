// Package e2e drives the real binary with real servers: nginx as the origin, an S3 server as the archive, a client that
// counts, and kill -9. The tests use it with small figures; the command in /e2e uses it with the figures that wayside claims
// and appends the outcome to docs/evidence.
//
// What is checked is always the same: the nonces that clients received in full are in the books, the books hold nothing that
// was not sent, nothing is in them twice, and the accounting adds up. The books are read from the archive alone, by
// downloading the objects, with a reader that shares no code with the writer but the target's transport.
package e2e

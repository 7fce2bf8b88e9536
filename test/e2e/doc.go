// Package e2e runs the real binary with real servers: nginx as the origin, an S3 server as the archive, a client that counts, and kill
// -9. The tests use small numbers of requests. The command test/pipeline uses the numbers given in the documentation, and appends the
// outcome to docs/evidence. The other commands in test use this package as well.
//
// The checks are always the same: the nonces of all responses that clients received in full are in the books, the books contain nothing
// that was not sent and nothing twice, and the accounting adds up. The books are read only from the archive. The reader downloads the
// objects. The only code that it shares with the writer is the transport of the target.
package e2e

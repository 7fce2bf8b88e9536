// Package upstream contains what a group of servers needs in addition to its connections: the order in which servers take turns
// ([Sequence]), the budget for retries ([Budget]), the state of each server ([Health]), the addresses of a name over time ([Addresses]),
// active checks ([Check]), and certificates and keys for TLS connections ([Credentials]).
//
// Nothing in this package handles requests or starts goroutines. Package proxy calls it (choose.go there chooses the server of a request),
// and holds the locks that the comments require.
package upstream

// Package upstream holds what a group of servers needs beside its connections: the order of turns ([Sequence]), the budget of retries
// ([Budget]), when a server is not used ([Health]), the addresses of a name over time ([Addresses]), active checks ([Check]) and the files
// of TLS ([Credentials]).
//
// Nothing here knows a request or starts a goroutine. Package proxy calls it, and owns the locks that its comments name.
package upstream

// Package everykey contains tests that start the real binary with every configuration key at its limits. wayside must either reject the
// value and say where it was set, or serve requests and keep the books. A reload must have the documented effect for each key. The keys
// come from package configs, so the tests fail for a new key that they do not cover.
package everykey

// Package everykey tests every configuration key with values at its limits, with the real binary. It must refuse a value with its place,
// or serve and record. A reload must have the documented effect on each key. The keys come from package configs: a new key fails the tests
// until it has values here.
package everykey

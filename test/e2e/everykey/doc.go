// Package everykey holds the tests that take every configuration key to its edges with the real binary: it refuses a value
// with its place, or it serves and keeps books; and a reload does with each key what it says. The keys come from package
// configs, so that a new one is covered, or fails the tests until it is.
package everykey

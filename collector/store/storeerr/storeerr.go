// Package storeerr holds the errors that the store shares with the packages below it. Callers use them under the names
// store.ErrUnavailable, store.ErrDamaged and store.ErrSchema.
package storeerr

import "errors"

// Errors that callers may have to distinguish.
var (
	// ErrUnavailable means that the disk or the database failed. The data is not the cause, and a later attempt may succeed.
	ErrUnavailable = errors.New("store unavailable")
	// ErrDamaged means that the stored bytes are not those that were written. The error message says where.
	ErrDamaged = errors.New("store is damaged")
	// ErrSchema means that a newer version of wayside wrote the data. Nothing was changed.
	ErrSchema = errors.New("store was written by a newer version of wayside")
)

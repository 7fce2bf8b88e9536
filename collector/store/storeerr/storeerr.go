// Package storeerr holds the errors that the store shares with the packages below it. Callers know them as store.ErrUnavailable,
// store.ErrDamaged and store.ErrSchema.
package storeerr

import "errors"

// Errors that callers tell apart.
var (
	// Unavailable means that the disk or the database refused: the data is not to blame, and trying again later may help.
	Unavailable = errors.New("store unavailable")
	// Damaged means that stored bytes are not those that were written; the text names them.
	Damaged = errors.New("store is damaged")
	// Schema means that a newer version of wayside wrote the data. Nothing was changed.
	Schema = errors.New("store was written by a newer version of wayside")
)

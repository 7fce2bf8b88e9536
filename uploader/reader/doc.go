// Package reader reads the archive back: it lists, prints, checks, restores and adds up what package uploader wrote.
//
// Everything here needs a target and nothing else: no store, no running wayside, and no permission beyond listing and
// reading. [Verify] compares with a catalogue where there is one. Objects of any number of services and instances may
// stand under one prefix; keys tell them apart.
//
// Memory is bounded by one object's line and, for [Verify], by the number of sequence runs; for [Rebuild], by the number
// of rows.
package reader

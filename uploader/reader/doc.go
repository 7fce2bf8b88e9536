// Package reader reads the archive that package uploader writes: it lists, prints, verifies, copies and adds up its objects.
//
// It needs only a target with permission to list and read: no store, and no running wayside. [Verify] also compares the objects with a
// catalogue if there is one. There may be objects of any number of services and instances under a prefix; their keys distinguish them.
//
// Memory use depends only on the size of one line of one object, for [Verify] also on the number of sequence runs, and for [Rebuild] also
// on the number of rows of one hour.
package reader

// Package paths determines the row of the statistics in which an event is counted, and the template under which that row is shown.
//
// Rows are kept forever, so their number must be bounded, and clients must not choose their names. A [Labeler] turns (host,
// method, path, status) into the name of a row:
//
//  1. Methods outside the registered set and hosts beyond [Options.HostsMax] become [Other].
//  2. If a configured template matches the path, the template is the label ("/users/{id}", "/static/**").
//  3. Otherwise, segments that are clearly identifiers (numbers, UUIDs, ULIDs, hashes, dates, e-mail addresses, tokens) become
//     "{id}". Empty segments and a trailing slash are kept.
//  4. If the labeler has learned that a level varies, the segments at that level also become "{id}" (see below).
//  5. The triple (host, method, label) is admitted as a new row if there is room, and is never removed to make room for another. If there
//     is no room, the event is counted under the label [Other], so totals always add up.
//
// All requests without a path are counted in one row, with the label [Malformed]. The proxy could not parse these requests, and most of
// them are probes and scans, so they do not take up room for a host and are not counted under the path "/".
//
// The path of a gRPC call is the name of a method, "/package.Service/Method". This name is used as the label; step 3 and learning never
// change it.
//
// The name of a row also contains the route that its requests took. Routes come from the configuration, but a client may be able to
// choose between several routes for one path (by a header, for example). So each combination of a path and a route takes up room, just
// like each combination of a path and a method.
//
// # Learning
//
// The labeler learns from the rows. From time to time it evaluates them as a tree. If a level has many children, and many of them are
// rare and alike (the same names appear below them), the children are values. A level that certainly varies becomes "{id}" in all later
// labels. A level that only probably varies is shown merged, and is separated again if later traffic shows that its children are names.
// In both cases, older rows are merged only when they are read ([Rules.Label]); the stored rows do not change. At a varying level, a
// child that is common and unlike the others keeps its name, or gets the name back later. Language and country codes with the same names
// below them are values, however common they are. A date at the beginning of a path is considered a name unless there are many such
// dates.
//
// # Room
//
// [Options.Max] bounds the number of templates (host and label) that are shown. There may be twice as many rows as templates, because
// rows also differ by method, and four times as many labels, because rows that are older than a learned level keep their labels. Nothing
// is ever evicted, so scanners must not be able to fill the table: the labeler does not learn from responses that do not prove that the
// route exists (4xx, 501 to 504), and admits new templates for them only while less than a tenth of Max is used. Hosts are treated in the
// same way, with half of their maximum.
//
// # Determinism
//
// The result depends only on the order of the events (no clock, no random numbers, no map order). [Labeler.Changes] returns everything
// that was learned from a batch; these changes are written in the batch's transaction. So after a replay or a restart, every event gets
// the same label. If the state is lost, no counts are lost: the rows stay, and new ones are admitted again. Only the counters that find
// names among the values of a learned level (watch.go) are lost in a restart, so the labeler finds such a name later than it would have
// without the restart.
//
// # Persisted state
//
// Keys are a kind (1 byte) and a number (4 bytes, big endian). Values begin with a version (1 byte):
//
//	'h' host   version 1: text host
//	'r' row    version 2: texts host, method, label; count (uvarint, at most 64). Version 1 has no count. Version 3, for rows with a
//	           route or of gRPC calls, continues: text route; 1 for gRPC calls, else 0 (1 byte)
//	'c' level  version 1: kind (1 byte), texts host and prefix, uvarint n, n texts: children that are names (kind 0 likely,
//	           1 learned), or the only children that are values (kind 2)
//	't' tally  version 1: uvarints events, next evaluation, interval
//
// A text is a uvarint length followed by that many bytes. When a learned level merges rows or other levels, their entries are removed.
//
// # Files
//
//   - the label of one event: paths.go (the Labeler), method.go, label.go (steps 2 to 4), configured.go (step 2), identifier.go (step 3),
//     grpc.go, table.go (step 5), cache.go
//   - learning: evaluate.go and learn.go, names.go and watch.go (names among values), relearn.go (learning from the rows of an archive)
//   - the template under which an older row is shown: merge.go
//   - persisted state: state.go, journal.go (changes of a batch), forget.go
package paths

package catalogue

// Forgotten describes what a store removed, or would remove.
type Forgotten struct {
	Names     int    `json:"rows"`             // rows by host, method and label, over all hours
	Hours     int    `json:"row_hours"`        // rows of one hour
	Responses uint64 `json:"responses"`        // of these rows, counted by (other) now
	Events    uint64 `json:"events"`           // local ones, whose path was replaced
	Blocks    int    `json:"blocks,omitempty"` // of events, written again
	// Objects are the archive objects that contain, or may contain, what was forgotten.
	Objects []ForgottenObject `json:"objects,omitempty"`
	// ObjectsUnknown are objects whose events are no longer local. They may contain a path that had no row of its own.
	ObjectsUnknown int `json:"objects_unknown"`
}

// ForgottenObject is an archive object that contains, or may contain, what was forgotten.
type ForgottenObject struct {
	Key    string `json:"key"`
	Target string `json:"target,omitempty"`
	// Holds is "certain" if its events are still local, "reopened" if it will be written again, and "possible" if only the statistics
	// of its hour suggest it.
	Holds string `json:"holds"`
}

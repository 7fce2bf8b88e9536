package catalogue

// Forgotten is what a store removed, or would remove.
type Forgotten struct {
	Names     int    `json:"rows"`             // rows by host, method and label, over all hours
	Hours     int    `json:"row_hours"`        // rows of one hour
	Responses uint64 `json:"responses"`        // counted by them, and by (other) now
	Events    uint64 `json:"events"`           // held locally, whose path was replaced
	Blocks    int    `json:"blocks,omitempty"` // of events, written anew
	// Objects are those of the archive that hold, or may hold, what was forgotten.
	Objects []ForgottenObject `json:"objects,omitempty"`
	// ObjectsUnknown are objects whose events are no longer held here: a path that had no row of its own may be in them.
	ObjectsUnknown int `json:"objects_unknown"`
}

// ForgottenObject is an object of the archive.
type ForgottenObject struct {
	Key    string `json:"key"`
	Target string `json:"target,omitempty"`
	// Holds is "certain" where its events are still held here, "reopened" where it will be written again, and "possible"
	// where only the statistics of its hour say so.
	Holds string `json:"holds"`
}

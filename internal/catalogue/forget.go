package catalogue

// Forgotten describes what a store has forgotten, or would forget.
type Forgotten struct {
	Names     int    `json:"rows"`             // rows by host, method and label, over all hours
	Hours     int    `json:"row_hours"`        // the same rows, but counted once for each hour
	Responses uint64 `json:"responses"`        // responses in these rows, which are now counted under (other)
	Events    uint64 `json:"events"`           // local events whose path was replaced
	Blocks    int    `json:"blocks,omitempty"` // blocks of events that were rewritten
	// Objects are the archive objects that contain, or may contain, what was forgotten.
	Objects []ForgottenObject `json:"objects,omitempty"`
	// ObjectsUnknown is the number of objects whose events are no longer local. They may contain a path that had no row
	// of its own.
	ObjectsUnknown int `json:"objects_unknown"`
}

// ForgottenObject is an archive object that contains, or may contain, what was forgotten.
type ForgottenObject struct {
	Key    string `json:"key"`
	Target string `json:"target,omitempty"`
	// Holds is "certain" if the object's events are still local, "reopened" if it will be rewritten, and "possible" if
	// only the statistics of its hour suggest that it contains the path.
	Holds string `json:"holds"`
}

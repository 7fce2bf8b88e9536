package spool

// Refusal is the reason why an event was not recorded, or was dropped later. Zero means that it was recorded.
type Refusal uint8

// Refusals. The names that String returns are the keys of Ledger.Dropped.
const (
	Accepted           Refusal = iota
	RefusedFull                // journal and queue are full
	RefusedFault               // the journal's mapping failed
	RefusedClosed              // after Close
	RefusedUnavailable         // no spool could be opened
	RefusedTooLarge            // the record would fill more than half a journal segment
	lostDamaged                // accepted, then lost because a file was damaged
	lostAge                    // accepted, then expired because no consumer took it within Options.AgeMax
	refusals                   // number of values
)

var refusalNames = [refusals]string{"accepted", "full", "fault", "closed", "unavailable", "too_large", "damaged", "age"}

// String returns the name of the reason in ledgers and drop records.
func (r Refusal) String() string {
	if r >= refusals {
		return "unknown"
	}
	return refusalNames[r]
}

// DropReasons returns the keys that Ledger.Dropped may have.
func DropReasons() []string { return refusalNames[RefusedFull:] }

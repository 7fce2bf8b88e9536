// Package accounting combines the figures of the spools (in the traffic process) with those of the store (in the books process) for GET
// /api/v1/accounting. The code in account.go adds up the figures and checks the identities. The code in join.go reads both sides until
// they match, and uses the store's last figures while the books process is not running.
package accounting

import (
	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/spool"
)

// Accounting holds the figures that must add up, as whole numbers since the data directory was created. Settled, Balanced and
// DroppedTotal are derived from the other fields.
type Accounting struct {
	Responses   uint64            `json:"responses"`
	Recorded    uint64            `json:"recorded"`
	Dropped     map[string]uint64 `json:"dropped"` // by reason
	Excluded    uint64            `json:"excluded"`
	Spooled     uint64            `json:"spooled"`
	Applied     uint64            `json:"applied"`
	Aggregated  uint64            `json:"aggregated"` // summed over the rows
	Quarantined uint64            `json:"quarantined"`
	Archived    uint64            `json:"archived"`
	Deleted     uint64            `json:"deleted"`
	// Imported is the number of responses from imported access logs. The other figures do not include them, because wayside did not
	// record them.
	Imported uint64 `json:"imported"`
	// Settled is true if every identity holds and nothing is in flight.
	Settled bool `json:"settled"`

	DroppedTotal uint64     `json:"dropped_total"`
	Balanced     bool       `json:"balanced"` // whether every identity holds
	Identities   []Identity `json:"identities"`
}

// Identity is an equation between figures. While there is traffic, it can be off by a few responses, because the figures are read one
// after another. Without traffic it must hold; if it does not, there is a bug.
type Identity struct {
	Name  string `json:"name"`
	Holds bool   `json:"holds"`
}

// Account adds up the figures. active holds the ledgers of the existing spools; everything else comes from the store. After a crash
// between the two steps of retiring an epoch, both have the epoch; in that case, the spool's figures are used.
func Account(active []spool.Ledger, stored *View) Accounting {
	a := Accounting{
		Dropped: map[string]uint64{},
		Applied: stored.Totals.Applied, Aggregated: stored.Aggregated, Quarantined: stored.Totals.Quarantined,
		Archived: stored.Totals.Archived, Deleted: stored.Totals.Deleted, Imported: stored.Imported,
	}
	held := make(map[uuid.UUID]bool, len(active))
	for _, l := range active {
		held[l.Epoch] = true
		a.add(l.Responses, l.Recorded, l.Excluded, l.Dropped)
		a.Spooled += l.Spooled
	}
	for _, l := range stored.Ledgers {
		if !held[l.Epoch] {
			a.add(l.Responses, l.Recorded, l.Excluded, l.Dropped)
		}
	}
	a.check()
	return a
}

func (a *Accounting) add(responses, recorded, excluded uint64, dropped map[string]uint64) {
	a.Responses += responses
	a.Recorded += recorded
	a.Excluded += excluded
	for reason, n := range dropped {
		a.Dropped[reason] += n
		a.DroppedTotal += n
	}
}

// Acknowledge finds the responses that were recorded but are neither in a spool nor in the store's figures, counts them as applied, and
// returns their number. It is used when the figures of the store are older than those of the spools: a spool deletes a response only
// after it has been stored, so these responses are in the store.
func (a *Accounting) Acknowledge() uint64 {
	known := a.Spooled + a.Applied + a.Quarantined
	if a.Recorded <= known {
		return 0
	}
	since := a.Recorded - known
	a.Applied += since
	a.Aggregated += since
	a.check()
	return since
}

func (a *Accounting) check() {
	a.Identities = []Identity{
		{"responses = recorded + dropped + excluded", a.Responses == a.Recorded+a.DroppedTotal+a.Excluded},
		{"recorded = spooled + applied + quarantined", a.Recorded == a.Spooled+a.Applied+a.Quarantined},
		{"applied = aggregated", a.Applied == a.Aggregated},
		{"deleted ≤ archived ≤ applied", a.Deleted <= a.Archived && a.Archived <= a.Applied},
	}
	a.Balanced = true
	for _, i := range a.Identities {
		a.Balanced = a.Balanced && i.Holds
	}
	a.Settled = a.Balanced && a.Spooled == 0
}

// View is the state of the store between two transactions. The ledgers of the spools must be computed relative to Applied.
type View struct {
	Applied    map[uuid.UUID]uint64 `json:"applied"` // watermarks: epoch → last sequence number in the store
	Totals     Totals               `json:"totals"`
	Aggregated uint64               `json:"aggregated"` // summed over the rows, without imported responses
	Imported   uint64               `json:"imported"`   // in the rows of imported access logs
	Ledgers    []spool.Ledger       `json:"ledgers"`    // final ledgers of retired epochs; the zero epoch has the sum of the oldest
}

// Totals are the store's counts of responses since it was created.
type Totals struct {
	Applied     uint64 `json:"applied"`     // counted in the rows
	Quarantined uint64 `json:"quarantined"` // quarantined because they could not be applied
	Archived    uint64 `json:"archived"`    // applied and verified in the archive
	Deleted     uint64 `json:"deleted"`     // archived and deleted from the store
}

//go:build linux

package crash

import (
	"testing"
	"time"

	"github.com/customstatus/customstatus"
)

// TestLedger shows that the ledger finds what a crash must not leave.
func TestLedger(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Millisecond)
	status := func(id, name string, revision customstatus.Revision) customstatus.CustomUserStatus {
		return customstatus.CustomUserStatus{ID: id, Name: name, StatusType: customstatus.Busy, UpdatedAt: now, Revision: revision}
	}
	older := func(s customstatus.CustomUserStatus) customstatus.CustomUserStatus {
		s.UpdatedAt = s.UpdatedAt.Add(-time.Hour)
		return s
	}
	with := func(metadata string, s customstatus.CustomUserStatus) customstatus.CustomUserStatus {
		s.Metadata = metadata
		return s
	}
	// Acknowledged: a and b. Begun: the rename of b, the create of c, the
	// delete of d and the import of e and f.
	books := func() *ledger {
		l := newLedger()
		for i, s := range []customstatus.CustomUserStatus{with("m", status("a", "A", 1)), with("n", status("b", "B", 2)), status("d", "D", 3)} {
			l.begin(i, write{Kind: "create", Status: record{Name: s.Name, StatusType: s.StatusType, Metadata: s.Metadata}})
			l.acknowledge(i, recordOf(s), s.Revision)
		}
		l.begin(0, write{Kind: "update", Status: record{ID: "b", Name: "B2", StatusType: customstatus.Busy}, Keeps: true})
		l.begin(1, write{Kind: "create", Status: record{Name: "C", StatusType: customstatus.Busy}})
		l.begin(2, write{Kind: "delete", Status: record{ID: "d"}})
		l.begin(3, write{Kind: "import", Batch: []record{recordOf(status("e", "E", 0)), recordOf(status("f", "F", 0))}})
		return l
	}
	a, b, d := with("m", status("a", "A", 1)), with("n", status("b", "B", 2)), status("d", "D", 3)
	b2 := with("n", status("b", "B2", 4))
	for name, tt := range map[string]struct {
		ok       bool
		revision customstatus.Revision
		statuses []customstatus.CustomUserStatus
	}{
		"nothing of what had begun":    {true, 3, []customstatus.CustomUserStatus{a, b, d}},
		"all of it":                    {true, 5, []customstatus.CustomUserStatus{a, b2, status("c", "C", 4), status("e", "E", 5), status("f", "F", 5)}},
		"acknowledged one missing":     {false, 3, []customstatus.CustomUserStatus{b, d}},
		"acknowledged one changed":     {false, 3, []customstatus.CustomUserStatus{with("m", status("a", "A2", 1)), b, d}},
		"acknowledged one of before":   {false, 3, []customstatus.CustomUserStatus{older(a), b, d}},
		"half of an update":            {false, 4, []customstatus.CustomUserStatus{a, {ID: "b", Name: "B2", StatusType: customstatus.Away, Metadata: "n", UpdatedAt: now, Revision: 4}, d}},
		"metadata dropped":             {false, 3, []customstatus.CustomUserStatus{with("", a), b, d}},
		"metadata dropped by update":   {false, 4, []customstatus.CustomUserStatus{a, with("", b2), d}},
		"half of an import":            {false, 4, []customstatus.CustomUserStatus{a, b, d, status("e", "E", 4)}},
		"an import of two revisions":   {false, 5, []customstatus.CustomUserStatus{a, b, d, status("e", "E", 4), status("f", "F", 5)}},
		"one that nobody wrote":        {false, 4, []customstatus.CustomUserStatus{a, b, d, status("x", "X", 4)}},
		"created twice":                {false, 5, []customstatus.CustomUserStatus{a, b, d, status("c", "C", 4), status("c2", "C", 5)}},
		"a revision behind":            {false, 2, []customstatus.CustomUserStatus{a, b}},
		"a revision too far":           {false, 11, []customstatus.CustomUserStatus{a, b, d}},
		"newer than the revision":      {false, 3, []customstatus.CustomUserStatus{a, b, d, status("c", "C", 4)}},
		"created before it had begun":  {false, 4, []customstatus.CustomUserStatus{a, b, d, older(status("c", "C", 4))}},
		"updated before it was before": {false, 4, []customstatus.CustomUserStatus{a, older(b2), d}},
	} {
		t.Run(name, func(t *testing.T) {
			page := customstatus.Page{Statuses: tt.statuses, Total: len(tt.statuses), Position: customstatus.Position{Revision: tt.revision}}
			for _, s := range tt.statuses {
				page.Position.Fingerprint += s.Fingerprint()
			}
			if err := books().verify(page, now); (err == nil) != tt.ok {
				t.Errorf("got %v", err)
			}
			page.Position.Fingerprint++
			if books().verify(page, now) == nil {
				t.Error("a wrong fingerprint is accepted")
			}
		})
	}
}

package main

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/cmd/customstatusd/internal/statusfile"
)

// What an import does with a status whose id or name the catalog has, unless the
// catalog has the whole status just as given.
const (
	conflictFails   = "fail"   // refuse the import
	conflictSkips   = "skip"   // leave the catalog's status as it is
	conflictUpdates = "update" // give the catalog's status what the import gives
)

// importOptions say what an import does.
type importOptions struct {
	onConflict string // one of the above; empty is conflictFails
	// exact makes an empty type and empty metadata values like any others. Otherwise
	// they are not given, and what the catalog has fits.
	exact bool
	// dryRun makes the import write nothing.
	dryRun bool
	// found gets each conflict of a dry run, in the order of the source. It may be
	// nil.
	found func(conflict)
}

// query returns the options as the query of a request.
func (o importOptions) query() string {
	if o.onConflict == "" {
		o.onConflict = conflictFails
	}
	values := url.Values{"on-conflict": {o.onConflict}, "dry-run": {strconv.FormatBool(o.dryRun)}}
	if o.exact {
		values.Set("exact", "true")
	}
	return values.Encode()
}

// parseImportQuery reads what query returns. It refuses everything else: an option
// that was passed over could make the import write what it must not.
func parseImportQuery(query string) (importOptions, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return importOptions{}, err
	}
	o := importOptions{onConflict: values.Get("on-conflict"), exact: values.Has("exact")}
	o.dryRun, err = strconv.ParseBool(values.Get("dry-run"))
	if err != nil || !slices.Contains([]string{conflictFails, conflictSkips, conflictUpdates}, o.onConflict) || o.query() != query {
		return importOptions{}, fmt.Errorf("unknown options of an import: %q", query)
	}
	return o, nil
}

// conflict is a status of a source that an import can't simply add.
type conflict struct {
	Where string `json:"where"`
	Name  string `json:"name"`
	Does  string `json:"does"` // what the import would do: refuse, skip or update
	Why   string `json:"why"`
}

// importPlan says what an import writes.
type importPlan struct {
	free    []int        // statuses that are new, in the order of the source
	updates [][]planned  // each part needs names that the parts before it free
	freed   []int        // new statuses whose names the updates free
	skipped int          // statuses that are left as they are in the catalog
	refused []refusal    // statuses that stop the import
	notes   map[int]note // what a dry run says of the conflicts; else nil
}

func newImportPlan(dryRun bool) *importPlan {
	p := new(importPlan)
	if dryRun {
		p.notes = make(map[int]note)
	}
	return p
}

func (p *importPlan) note(index int, does, why string) {
	if p.notes != nil {
		p.notes[index] = note{does, why}
	}
}

// planned is the update of one status.
type planned struct {
	index int // in the source
	id    string
}

type refusal struct {
	index int
	err   error
}

type note struct{ does, why string }

func (p *importPlan) refuse(index int, err error) {
	p.refused = append(p.refused, refusal{index, err})
	p.note(index, "refuse", err.Error())
}

func (p *importPlan) skip(index int, err error) {
	p.skipped++
	p.note(index, "skip", err.Error())
}

func (p *importPlan) updated() (n int) {
	for _, part := range p.updates {
		n += len(part)
	}
	return n
}

func errIDTaken(s, owner *customstatus.CustomUserStatus) error {
	return &customstatus.Error{Code: customstatus.CodeIDInUse, Field: customstatus.FieldID, Input: s.ID, ID: owner.ID,
		Detail: fmt.Sprintf("by the status named %q", owner.Name)}
}

func errNameTaken(s, owner *customstatus.CustomUserStatus) error {
	return &customstatus.Error{Code: customstatus.CodeNameInUse, Field: customstatus.FieldName, Input: s.Name, ID: owner.ID}
}

// lookUp returns the status of the catalog with the id or name of s, or nil.
func lookUp(catalog *customstatus.Catalog, s *customstatus.CustomUserStatus) (byID, byName *customstatus.CustomUserStatus) {
	if s.ID != "" {
		if there, err := catalog.Get(s.ID); err == nil {
			byID = &there
		}
	}
	if there, err := catalog.GetByName(s.Name); err == nil {
		byName = &there
	}
	return byID, byName
}

// planAdding plans an import that changes no status of the catalog. What it refuses or
// skips is what Catalog.Import refuses.
func planAdding(catalog *customstatus.Catalog, src *statusfile.Source, opts importOptions) *importPlan {
	p := newImportPlan(opts.dryRun)
	ids := make(map[string]*customstatus.CustomUserStatus) // of the source
	names := make(map[string]*customstatus.CustomUserStatus)
	for i := range src.Statuses {
		s := &src.Statuses[i]
		byID, byName := lookUp(catalog, s)
		if byID != nil && same(s, byID, opts.exact) {
			continue
		}
		if byID == nil {
			byID = ids[s.ID]
		}
		if byName == nil {
			byName = names[s.Name]
		}
		var err error
		switch {
		case byID != nil:
			err = errIDTaken(s, byID)
		case byName != nil:
			err = errNameTaken(s, byName)
		}
		if err != nil && opts.onConflict == conflictSkips {
			p.skip(i, err)
			continue
		}
		if err != nil {
			p.refuse(i, err)
		} else {
			p.free = append(p.free, i)
		}
		names[s.Name] = s
		if s.ID != "" {
			ids[s.ID] = s
		}
	}
	return p
}

// same reports whether the catalog has all that s gives.
func same(s, there *customstatus.CustomUserStatus, exact bool) bool {
	return s.StatusType == there.StatusType && s.UpdatedAt.Equal(there.UpdatedAt) && len(changes(s, there, exact)) == 0
}

// changes returns in words what an update with s changes. What s does not give stays
// as it is, unless the update is exact.
func changes(s, there *customstatus.CustomUserStatus, exact bool) (words []string) {
	if s.Name != there.Name {
		words = append(words, fmt.Sprintf("name %q to %q", there.Name, s.Name))
	}
	if (exact || s.StatusType != "") && s.StatusType != there.StatusType {
		words = append(words, fmt.Sprintf("status type %q to %q", there.StatusType, s.StatusType))
	}
	if (exact || s.Metadata != "") && s.Metadata != there.Metadata {
		words = append(words, "metadata")
	}
	return words
}

// updatePlanner plans an import that updates statuses of the catalog.
type updatePlanner struct {
	*importPlan
	catalog *customstatus.Catalog
	src     *statusfile.Source
	exact   bool
	of      map[string]int // which status of the source goes to the status with an id
	depths  map[int]int    // what depth has found
}

// planUpdating plans an import that updates. A status of the source goes to the status
// of the catalog with its id, or else to the one with its name if no other goes there.
func planUpdating(catalog *customstatus.Catalog, src *statusfile.Source, opts importOptions) *importPlan {
	p := &updatePlanner{newImportPlan(opts.dryRun), catalog, src, opts.exact, make(map[string]int), make(map[int]int)}
	repeated := make(map[int]bool)
	targets := make([]*customstatus.CustomUserStatus, len(src.Statuses))
	ids := make(map[string]int, len(src.Statuses))
	names := make(map[string]int, len(src.Statuses))
	for i := range src.Statuses {
		s := &src.Statuses[i]
		if first, twice := ids[s.ID]; twice && s.ID != "" {
			p.refuse(i, fmt.Errorf("the id %q is also in %s", s.ID, src.Where(first)))
			repeated[i] = true
			continue
		}
		if first, twice := names[s.Name]; twice {
			p.refuse(i, fmt.Errorf("the name %q is also in %s", s.Name, src.Where(first)))
			repeated[i] = true
			continue
		}
		ids[s.ID], names[s.Name] = i, i
		if there, err := catalog.Get(s.ID); err == nil {
			targets[i] = &there
			p.of[there.ID] = i
		}
	}
	for i := range src.Statuses {
		_, owner := lookUp(catalog, &src.Statuses[i])
		if targets[i] != nil || owner == nil || repeated[i] {
			continue
		}
		if _, gone := p.of[owner.ID]; !gone {
			targets[i] = owner
			p.of[owner.ID] = i
		}
	}
	for i, target := range targets {
		if !repeated[i] {
			p.place(i, target)
		}
	}
	return p.importPlan
}

// place puts a status of the source into the plan.
func (p *updatePlanner) place(i int, target *customstatus.CustomUserStatus) {
	s := &p.src.Statuses[i]
	var words []string
	if target != nil {
		if words = changes(s, target, p.exact); words == nil {
			return
		}
	}
	depth := p.depth(i)
	switch {
	case depth < 0:
		_, owner := lookUp(p.catalog, s)
		err := errNameTaken(s, owner)
		if _, moves := p.of[owner.ID]; moves {
			err = fmt.Errorf("%w, whose own new name is not free before", err)
		}
		p.refuse(i, err)
	case target == nil && depth == 0:
		p.free = append(p.free, i)
	case target == nil:
		p.freed = append(p.freed, i)
	default:
		for len(p.updates) <= depth {
			p.updates = append(p.updates, nil)
		}
		p.updates[depth] = append(p.updates[depth], planned{i, target.ID})
		p.note(i, "update", strings.Join(words, ", "))
	}
}

// depth returns how many updates come before statuses[i] can have its name, or -1 if
// it can't: its name stays with another status, or statuses change names in a ring.
func (p *updatePlanner) depth(i int) int {
	var path []int // each needs a name that the next one frees
	depth := 0
	for at := i; at >= 0 && depth >= 0; {
		if known, ok := p.depths[at]; ok { // -1 also if it is on the path
			depth = known + 1
			if known < 0 {
				depth = -1
			}
			break
		}
		p.depths[at] = -1
		path = append(path, at)
		if at = p.before(at); at == blocked {
			depth = -1
		}
	}
	for n := len(path) - 1; n >= 0 && depth >= 0; n-- {
		p.depths[path[n]] = depth
		depth++
	}
	return p.depths[i]
}

// What before returns if no other status of the source is meant.
const (
	unbound = -1 // the name is free, or the status has it already
	blocked = -2 // the name stays with another status
)

// before returns which status of the source has to be updated before statuses[i] can
// have its name.
func (p *updatePlanner) before(i int) int {
	_, owner := lookUp(p.catalog, &p.src.Statuses[i])
	if owner == nil {
		return unbound
	}
	switch mover, moves := p.of[owner.ID]; {
	case !moves:
		return blocked
	case mover == i:
		return unbound
	case p.src.Statuses[mover].Name == owner.Name:
		return blocked
	default:
		return mover
	}
}

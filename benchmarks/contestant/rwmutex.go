package contestant

import (
	"slices"
	"strings"
	"sync"

	"github.com/customstatus/customstatus"
)

// rwMutex is a catalog written by hand in memory: a lock around two maps and a slice that
// is sorted by name.
type rwMutex struct {
	mu     sync.RWMutex
	byID   map[string]*customstatus.CustomUserStatus
	byName map[string]*customstatus.CustomUserStatus
	sorted []*customstatus.CustomUserStatus
}

func openRWMutex(string) (Contestant, error) {
	return &rwMutex{
		byID:   map[string]*customstatus.CustomUserStatus{},
		byName: map[string]*customstatus.CustomUserStatus{},
	}, nil
}

func (m *rwMutex) get(in map[string]*customstatus.CustomUserStatus, key string) (customstatus.CustomUserStatus, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if s := in[key]; s != nil {
		return *s, nil
	}
	return customstatus.CustomUserStatus{}, customstatus.ErrNotFound
}

func (m *rwMutex) GetByID(id string) (customstatus.CustomUserStatus, error) {
	return m.get(m.byID, id)
}

func (m *rwMutex) GetByName(name string) (customstatus.CustomUserStatus, error) {
	return m.get(m.byName, name)
}

func compareName(s *customstatus.CustomUserStatus, name string) int {
	return strings.Compare(s.Name, name)
}

func (m *rwMutex) Create(f customstatus.Fields) (customstatus.CustomUserStatus, error) {
	s, err := newStatus(f)
	if err != nil {
		return s, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byName[s.Name] != nil {
		return s, customstatus.ErrNameInUse
	}
	p := &s
	m.byID[s.ID], m.byName[s.Name] = p, p
	i, _ := slices.BinarySearchFunc(m.sorted, s.Name, compareName)
	m.sorted = slices.Insert(m.sorted, i, p)
	return s, nil
}

func (m *rwMutex) Update(id string, f customstatus.Fields) (customstatus.CustomUserStatus, error) {
	s, err := changedStatus(id, f)
	if err != nil {
		return s, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.byID[id]
	if p == nil {
		return s, customstatus.ErrNotFound
	}
	if p.Name != s.Name {
		if m.byName[s.Name] != nil {
			return s, customstatus.ErrNameInUse
		}
		delete(m.byName, p.Name)
		m.byName[s.Name] = p
		m.move(p, s.Name)
	}
	*p = s
	return s, nil
}

// move puts p at the place of its new name and shifts only the statuses in between.
func (m *rwMutex) move(p *customstatus.CustomUserStatus, name string) {
	from, _ := slices.BinarySearchFunc(m.sorted, p.Name, compareName)
	to, _ := slices.BinarySearchFunc(m.sorted, name, compareName)
	if to > from {
		to--
		copy(m.sorted[from:to], m.sorted[from+1:to+1])
	} else {
		copy(m.sorted[to+1:from+1], m.sorted[to:from])
	}
	m.sorted[to] = p
}

func (m *rwMutex) List(offset, limit int) ([]customstatus.CustomUserStatus, int, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	total := len(m.sorted)
	offset = min(offset, total)
	part := m.sorted[offset:min(offset+limit, total)]
	page := make([]customstatus.CustomUserStatus, len(part))
	for i, s := range part {
		page[i] = *s
	}
	return page, total, nil
}

func (m *rwMutex) Import(in []customstatus.CustomUserStatus) error {
	if err := checkAll(in); err != nil {
		return err
	}
	own := slices.Clone(in)
	m.mu.Lock()
	defer m.mu.Unlock()
	ids := make(map[string]bool, len(in))
	names := make(map[string]bool, len(in))
	for i := range own {
		s := &own[i]
		if m.byID[s.ID] != nil || ids[s.ID] {
			return customstatus.ErrIDInUse
		}
		if m.byName[s.Name] != nil || names[s.Name] {
			return customstatus.ErrNameInUse
		}
		ids[s.ID], names[s.Name] = true, true
	}
	m.sorted = slices.Grow(m.sorted, len(in))
	for i := range own {
		s := &own[i]
		m.byID[s.ID], m.byName[s.Name] = s, s
		m.sorted = append(m.sorted, s)
	}
	slices.SortFunc(m.sorted, func(a, b *customstatus.CustomUserStatus) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

func (m *rwMutex) Close() error { return nil }

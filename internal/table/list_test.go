package table

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus/internal/selection"
)

// A slice that is filtered, sorted and cut gives the expected lists.
func TestList(t *testing.T) {
	byID := selection.By(selection.Text(func(v *value) string { return v.ID }))
	var values []*value
	for i := range 40 { // names in another order than the ids
		values = append(values, &value{fmt.Sprintf("%02d", i), fmt.Sprintf("Name %02d", i*7%40)})
	}
	table, err := New(valueKeys, values, 0)
	require.NoError(t, err)
	even := func(v value) bool { return v.ID[1]%2 == 0 }
	for _, conditions := range []Query[value]{
		{}, {ID: "03"}, {ID: "none"}, {ID: "03", Name: "Name 21"}, {ID: "03", Name: "Name 22"},
		{Name: "Name 21"}, {Name: "Name 21", NameContains: "nAmE"}, {Name: "Name 21", NameContains: "x"},
		{NameContains: "e 1"}, {NameContains: "e 1", Filter: even}, {Filter: even}, {ID: "03", Filter: even},
	} {
		for _, window := range [][2]int{{0, 0}, {0, 3}, {2, 1}, {5, 0}, {39, 5}, {100, 5}} {
			for order := range 3 {
				q := conditions
				q.Offset, q.Limit = window[0], window[1]
				compare := func(a, b value) int { return strings.Compare(a.Name, b.Name) }
				switch order {
				case 1:
					q.Descending = true
					compare = func(a, b value) int { return strings.Compare(b.Name, a.Name) }
				case 2:
					q.Order = &byID
					compare = func(a, b value) int { return strings.Compare(a.ID, b.ID) }
				}
				want := []value{}
				for _, v := range values {
					if (q.ID == "" || q.ID == v.ID) && (q.Name == "" || q.Name == v.Name) &&
						strings.Contains(strings.ToLower(v.Name), strings.ToLower(q.NameContains)) && (q.Filter == nil || q.Filter(*v)) {
						want = append(want, *v)
					}
				}
				slices.SortFunc(want, compare)
				count := len(want)
				want = want[min(q.Offset, count):]
				if q.Limit > 0 {
					want = want[:min(q.Limit, len(want))]
				}
				list, total := table.List(&q)
				require.Equal(t, want, list, "%+v", q)
				require.Equal(t, count, total, "%+v", q)
			}
		}
	}
}

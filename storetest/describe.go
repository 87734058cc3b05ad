package storetest

import (
	"fmt"
	"strings"
	"time"

	"github.com/customstatus/customstatus"
)

func describe(s customstatus.CustomUserStatus) string {
	return fmt.Sprintf("{%+q %+q %s %s @%d}", s.ID, s.Name, s.StatusType, s.UpdatedAt.Format(time.RFC3339Nano), s.Revision)
}

// shorten quotes a string, or only the beginning of a long string.
func shorten(s string) string {
	const most = 60
	if len(s) <= most {
		return fmt.Sprintf("%+q", s)
	}
	return fmt.Sprintf("%+q… (%d bytes)", s[:most], len(s))
}

// describeChanges describes a commit, or only the first changes of a large
// commit.
func describeChanges(changes []customstatus.Change) string {
	const most = 6
	var b strings.Builder
	for i, c := range changes {
		if i == most {
			fmt.Fprintf(&b, ", … %d more", len(changes)-most)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		switch c.Kind {
		case customstatus.Created:
			fmt.Fprintf(&b, "create %+q as %+q", c.After.ID, c.After.Name)
		case customstatus.Updated:
			fmt.Fprintf(&b, "write %+q@%d as %+q", c.Before.ID, c.Before.Revision, c.After.Name)
		case customstatus.Deleted:
			fmt.Fprintf(&b, "delete %+q@%d", c.Before.ID, c.Before.Revision)
		default:
			fmt.Fprintf(&b, "%v %+q", c.Kind, c.ID())
		}
	}
	return "[" + b.String() + "]"
}

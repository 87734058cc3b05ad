package etcdstore

import (
	"errors"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"

	"github.com/customstatus/customstatus"
)

// plan is what a commit compares and writes, without its marker.
type plan struct {
	compare []*pb.Compare
	puts    []*pb.RequestOp // the records in the order of the changes, then the names
	head    []byte
	err     error // the changes contradict each other
}

// owner is who has a name in the course of a commit.
type owner struct {
	before string // the id that has the name before the commit, or empty
	now    string // the id that has the name after the changes so far, or empty
}

// newPlan returns the plan of a commit, or why no commit can have these changes.
func (s *Store) newPlan(changes []customstatus.Change) (*plan, error) {
	if err := check(changes); err != nil {
		return nil, err
	}
	p := s.build(changes)
	return p, s.fits(p, changes)
}

// build checks the changes in turn. A name that moves from status to status within
// the commit becomes one operation, because etcd refuses two for one key.
func (s *Store) build(changes []customstatus.Change) *plan {
	p := &plan{head: appendHead(nil, changes)}
	names := make(map[string]*owner, len(changes))
	var order []string // of names, so that equal commits are equal requests
	look := func(name string) *owner {
		if names[name] == nil {
			names[name] = &owner{}
			order = append(order, name)
		}
		return names[name]
	}
	for i := range changes {
		c := &changes[i]
		key := s.keys.record(c.ID())
		at := int64(0)
		if c.Kind != customstatus.Created {
			if at = int64(c.Before.Revision); at == 0 { // to etcd it would mean that there is none
				p.err = conflict("status %q is not at revision 0", c.ID())
			}
		}
		p.compare = append(p.compare, modIs(key, at))
		if c.Kind != customstatus.Created {
			// A cluster that was restored from a snapshot uses revisions again. So
			// does the record prove that its status has the name.
			p.compare = append(p.compare, valueIs(key, appendRecord(nil, &c.Before)))
		}
		if c.Kind == customstatus.Deleted {
			p.puts = append(p.puts, remove(key))
		} else {
			p.puts = append(p.puts, put(key, appendRecord(nil, &c.After), 0))
		}

		if c.Kind != customstatus.Created {
			if names[c.Before.Name] != nil {
				p.err = conflict("the name %q of status %q belongs to another status", c.Before.Name, c.ID())
			}
			*look(c.Before.Name) = owner{before: c.ID()}
		}
		if c.Kind != customstatus.Deleted {
			name := look(c.After.Name)
			if name.now != "" {
				p.err = conflict("the name %q belongs to status %q", c.After.Name, name.now)
			}
			name.now = c.After.ID
		}
	}
	for _, name := range order {
		o := names[name]
		key := s.keys.name(name)
		if o.before == "" {
			p.compare = append(p.compare, modIs(key, 0))
		}
		switch o.now {
		case o.before: // it keeps the name
		case "":
			p.puts = append(p.puts, remove(key))
		default:
			p.puts = append(p.puts, put(key, []byte(o.now), 0))
		}
	}
	return p
}

// fits returns an error if the cluster can't take the plan in one transaction. It
// counts as etcd does: the comparisons or the operations, whichever are more.
func (s *Store) fits(p *plan, changes []customstatus.Change) error {
	ops := max(len(p.compare)+1, len(p.puts)+opsPerCommit)
	if most := s.opts.MaxTxnOps; ops > most {
		return tooLarge((most-opsPerCommit)/opsPerChange, "%d changes are %d operations of etcd, of which a transaction can have %d",
			len(changes), ops, most)
	}
	size := s.size(p)
	if size <= s.opts.MaxRequestBytes {
		return nil
	}
	if len(changes) == 1 {
		return tooLarge(0, "the status is %d bytes, of which a request can have %d", size, s.opts.MaxRequestBytes)
	}
	n := len(changes) / 2
	for n > 1 && s.size(s.build(changes[:n])) > s.opts.MaxRequestBytes {
		n /= 2
	}
	return tooLarge(max(n, 1), "%d changes are %d bytes, of which a request can have %d", len(changes), size, s.opts.MaxRequestBytes)
}

// requestMargin is room for the marker and what etcd adds to a request.
const requestMargin = 4 << 10

// size returns the greatest size in bytes of the request of a plan.
func (s *Store) size(p *plan) int {
	return proto.Size(&pb.TxnRequest{Compare: p.compare, Success: p.puts}) + len(p.head) + 2*len(s.keys.prefix) + requestMargin
}

// check returns an error if the commit is the caller's fault.
func check(changes []customstatus.Change) error {
	if len(changes) == 0 {
		return errors.New("the commit has no changes")
	}
	seen := make(map[string]bool, len(changes))
	for i := range changes {
		c := &changes[i]
		id := c.ID()
		switch {
		case c.Kind < customstatus.Created || c.Kind > customstatus.Deleted:
			return fmt.Errorf("a change has the unknown kind %d", c.Kind)
		case c.Kind == customstatus.Updated && c.Before.ID != id:
			return fmt.Errorf("an update turns status %q into status %q", c.Before.ID, id)
		case seen[id]:
			return fmt.Errorf("the commit changes status %q twice", id)
		}
		seen[id] = true
	}
	return nil
}

func conflict(text string, args ...any) error {
	return fmt.Errorf("%w: %s", customstatus.ErrConflict, fmt.Sprintf(text, args...))
}

func tooLarge(most int, text string, args ...any) error {
	return &customstatus.TooLargeError{MaxChanges: most, Err: fmt.Errorf(text, args...)}
}

// modIs compares the etcd revision at which a key was last put; 0 means that there
// is no such key.
func modIs(key []byte, revision int64) *pb.Compare {
	return &pb.Compare{Key: key, Result: pb.Compare_EQUAL, Target: pb.Compare_MOD, TargetUnion: &pb.Compare_ModRevision{ModRevision: revision}}
}

// valueIs compares a value. It is false if there is no such key.
func valueIs(key, value []byte) *pb.Compare {
	return &pb.Compare{Key: key, Result: pb.Compare_EQUAL, Target: pb.Compare_VALUE, TargetUnion: &pb.Compare_Value{Value: value}}
}

func put(key, value []byte, lease int64) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: key, Value: value, Lease: lease}}}
}

func remove(key []byte) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: &pb.DeleteRangeRequest{Key: key}}}
}

func get(key []byte) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: key}}}
}

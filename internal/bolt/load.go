package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"unsafe"

	"github.com/customstatus/customstatus/internal/boltfile"
	"github.com/customstatus/customstatus/internal/sentinel"
	"go.etcd.io/bbolt"
)

// errNoCatalog is returned when the database has none of the catalog's buckets.
var errNoCatalog = errors.New("no catalog of this name")

// view is a catalog as a transaction sees it. The pages that lead to the
// buckets were checked before bbolt follows them.
type view struct {
	way            *boltfile.Way
	state, records *bbolt.Bucket
	now            State
}

// view looks up the catalog's buckets and reads the state.
func (s *Store) view(tx *bbolt.Tx) (v view, err error) {
	if v.way, err = s.way(tx); err != nil {
		return view{}, err
	}
	for _, name := range []string{s.stateBucket, s.recordBucket} {
		if err := v.way.Bucket(name); err != nil {
			return view{}, structure(err)
		}
	}
	v.state, v.records = tx.Bucket([]byte(s.stateBucket)), tx.Bucket([]byte(s.recordBucket))
	switch {
	case v.state == nil && v.records == nil:
		return view{}, errNoCatalog
	case v.state == nil:
		return view{}, fmt.Errorf("%w: no bucket %q", sentinel.ErrDamaged, s.stateBucket)
	case v.records == nil:
		return view{}, fmt.Errorf("%w: no bucket %q", sentinel.ErrDamaged, s.recordBucket)
	}
	if err := v.way.Key(s.stateBucket, []byte(StateKey), boltfile.Replace); err != nil {
		return view{}, structure(err)
	}
	if v.now, err = DecodeState(v.state.Get([]byte(StateKey))); err != nil {
		return view{}, fmt.Errorf("bucket %q: %w", s.stateBucket, err)
	}
	return v, nil
}

// way returns a [boltfile.Way] through the pages as they were before the
// transaction.
func (s *Store) way(tx *bbolt.Tx) (*boltfile.Way, error) {
	info := tx.DB().Info()
	// The mapping stays in place until the transaction ends or enlarges the
	// mapping, which happens after the last check.
	mapped := unsafe.Slice(*(**byte)(unsafe.Pointer(&info.Data)), tx.Size())
	if !tx.Writable() {
		// While a reader runs, commits overwrite both meta pages.
		way, err := boltfile.NewReadWay(mapped, info.PageSize, uint64(tx.Cursor().Bucket().Root()))
		return way, structure(err)
	}
	// The transaction itself has written nothing yet.
	way, err := boltfile.NewWay(mapped, info.PageSize, uint64(tx.ID())-1)
	return way, structure(err)
}

// structure wraps a [*boltfile.DamageError] in [sentinel.ErrDamaged], and
// returns other errors unchanged.
func structure(err error) error {
	if damage := (*boltfile.DamageError)(nil); errors.As(err, &damage) {
		return fmt.Errorf("%w: %w", sentinel.ErrDamaged, err)
	}
	return err
}

// createBuckets makes the buckets of an empty catalog.
func (s *Store) createBuckets(tx *bbolt.Tx) error {
	for _, name := range []string{s.stateBucket, s.recordBucket} {
		if _, err := tx.CreateBucket([]byte(name)); err != nil {
			return fmt.Errorf("bucket %q: %w", name, err)
		}
	}
	state := State{Transaction: uint64(tx.ID())}
	return tx.Bucket([]byte(s.stateBucket)).Put([]byte(StateKey), state.Encode())
}

// damaged returns the error for damage at a key of the records, or in the
// records as a whole if key is nil.
func (s *Store) damaged(key []byte, text string, args ...any) error {
	what := fmt.Sprintf(text, args...)
	if key != nil {
		return fmt.Errorf("%w: bucket %q, key %.200q: %s", sentinel.ErrDamaged, s.recordBucket, key, what)
	}
	return fmt.Errorf("%w: bucket %q: %s", sentinel.ErrDamaged, s.recordBucket, what)
}

// load reads and verifies all records and passes each to yield, in order of
// ids, with an estimate of their number. It returns the names of all records.
func (s *Store) load(ctx context.Context, v view, size int64, yield func(count int, r *Record)) (map[string]struct{}, error) {
	var (
		want     = v.now
		got      = State{Revision: want.Revision, Transaction: want.Transaction, Fingerprint: want.Fingerprint}
		count    = int(min(want.Count, uint64(size/MinRecordBytes))) // want.Count may be damaged
		names    = make(map[string]struct{}, count)
		r        Record
		seen     int
		previous []byte
	)
	cursor := v.records.Cursor()
	for key, value := cursor.First(); key != nil; key, value = cursor.Next() {
		if seen%1024 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		sum, err := r.decode(value, s.tag)
		if err != nil {
			return nil, s.damaged(key, "%v", err)
		}
		names[r.Name] = struct{}{}
		switch {
		case r.ID != string(key):
			return nil, s.damaged(key, "the record is that of %q", r.ID)
		case r.Revision == 0 || r.Revision > want.Revision:
			return nil, s.damaged(key, "the record is of revision %d, the store of %d", r.Revision, want.Revision)
		case previous != nil && bytes.Compare(previous, key) >= 0:
			return nil, s.damaged(key, "out of order")
		case len(names) == seen:
			return nil, s.damaged(key, "another status has the same name %q", r.Name)
		}
		previous = key
		seen++
		got.Add(sum, 0)
		if yield != nil {
			yield(count, &r)
		}
	}
	if got != want {
		return nil, s.damaged(nil,
			"the records are not those of the last commit: there are %d of %d, with digest %016x instead of %016x",
			got.Count, want.Count, got.Digest, want.Digest)
	}
	return names, nil
}

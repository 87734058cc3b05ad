package etcdstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/customstatus/customstatus"
)

// format is the format of the values that this version writes. A version that can
// write more fields writes a greater number, so that this one notices.
const format = 1

// The fields of a record. A tag keeps its meaning for ever.
const (
	tagName     = 1
	tagType     = 2
	tagMetadata = 3
	tagTime     = 4 // in milliseconds since 1970, as a signed varint
)

// ErrNewerFormat is returned by [Store.Commit] when a newer version of this package
// has written a value in a format that this version doesn't know. Nothing was
// written. It lasts until this program is upgraded. Reads go on.
var ErrNewerFormat = errors.New("written by a newer version of this program")

// keys are the keys of one catalog. Those that a watcher needs are neighbours: the
// revision, and the records.
type keys struct {
	prefix   string
	revision string // put by every commit; its etcd revision is the catalog's
	records  string // followed by an id
	names    string // followed by a name; the value is an id
	markers  string // followed by a random token
}

func keysUnder(prefix string) keys {
	return keys{prefix, prefix + "revision", prefix + "s/", prefix + "n/", prefix + "m/"}
}

func (k *keys) record(id string) []byte { return []byte(k.records + id) }
func (k *keys) name(name string) []byte { return []byte(k.names + name) }

// id returns the id of a record's key.
func (k *keys) id(key []byte) (id string, ok bool) { return strings.CutPrefix(string(key), k.records) }

// end returns the end of the range of the keys that begin with a prefix, which ends
// in a slash.
func end(prefix string) []byte { return []byte(prefix[:len(prefix)-1] + "0") }

// appendRecord appends the value of a record: the format, and each field that isn't
// empty as its tag, its length and its bytes.
func appendRecord(b []byte, s *customstatus.CustomUserStatus) []byte {
	b = append(b, format)
	for _, f := range [...]struct {
		tag   uint64
		value string
	}{{tagName, s.Name}, {tagType, string(s.StatusType)}, {tagMetadata, s.Metadata}} {
		if f.value != "" {
			b = binary.AppendUvarint(b, f.tag)
			b = binary.AppendUvarint(b, uint64(len(f.value)))
			b = append(b, f.value...)
		}
	}
	var number [binary.MaxVarintLen64]byte
	n := binary.PutVarint(number[:], s.UpdatedAt.UnixMilli())
	b = binary.AppendUvarint(b, tagTime)
	b = binary.AppendUvarint(b, uint64(n))
	return append(b, number[:n]...)
}

// parseRecord returns the status of a record. [ErrNewerFormat] comes with the status.
// Any other error is [customstatus.ErrDamaged].
func (k *keys) parseRecord(kv *mvccpb.KeyValue) (s customstatus.CustomUserStatus, err error) {
	id, ok := k.id(kv.Key)
	if !ok || len(kv.Value) == 0 {
		return s, damaged("the record %q is empty", kv.Key)
	}
	s.ID, s.Revision = id, customstatus.Revision(kv.ModRevision)
	newer := kv.Value[0] > format
	timed := false
	for rest := kv.Value[1:]; len(rest) > 0; {
		tag, n := binary.Uvarint(rest)
		length, m := binary.Uvarint(rest[max(n, 0):])
		if n <= 0 || m <= 0 || length > uint64(len(rest)-n-m) {
			return s, damaged("the record %q is not well-formed", kv.Key)
		}
		value := rest[n+m:][:length]
		rest = rest[n+m:][length:]
		switch tag {
		case tagName:
			s.Name = string(value)
		case tagType:
			s.StatusType = statusType(value)
		case tagMetadata:
			s.Metadata = string(value)
		case tagTime:
			ms, n := binary.Varint(value)
			if n != len(value) || n == 0 {
				return s, damaged("the time of the record %q is not well-formed", kv.Key)
			}
			s.UpdatedAt, timed = time.UnixMilli(ms).UTC(), true
		default:
			newer = true
		}
	}
	switch {
	case kv.Value[0] == 0 || !timed:
		return s, damaged("the record %q is not complete", kv.Key)
	case newer:
		return s, fmt.Errorf("the record %q was %w", kv.Key, ErrNewerFormat)
	}
	return s, nil
}

// statusType returns the type without an allocation for the common ones.
func statusType(b []byte) customstatus.StatusType {
	for _, t := range [...]customstatus.StatusType{customstatus.Online, customstatus.Away, customstatus.Busy, customstatus.Offline} {
		if string(t) == string(b) {
			return t
		}
	}
	return customstatus.StatusType(b)
}

// appendHead appends the value of the revision's key: the format, the number of
// changes, and of each change the revision of the status before, or 0.
func appendHead(b []byte, changes []customstatus.Change) []byte {
	b = append(b, format)
	b = binary.AppendUvarint(b, uint64(len(changes)))
	for i := range changes {
		before := uint64(0)
		if changes[i].Kind != customstatus.Created {
			before = uint64(changes[i].Before.Revision)
		}
		b = binary.AppendUvarint(b, before)
	}
	return b
}

// parseHead returns the revisions that [appendHead] has written. [ErrNewerFormat] comes
// with them.
func parseHead(kv *mvccpb.KeyValue) (before []customstatus.Revision, err error) {
	malformed := damaged("the value of %q is not well-formed", kv.Key)
	if len(kv.Value) == 0 || kv.Value[0] == 0 {
		return nil, malformed
	}
	count, n := binary.Uvarint(kv.Value[1:])
	if n <= 0 || count > uint64(len(kv.Value)) {
		return nil, malformed
	}
	rest := kv.Value[1+n:]
	for range count {
		revision, n := binary.Uvarint(rest)
		if n <= 0 {
			return nil, malformed
		}
		before, rest = append(before, customstatus.Revision(revision)), rest[n:]
	}
	if kv.Value[0] > format || len(rest) > 0 {
		return before, fmt.Errorf("the value of %q was %w", kv.Key, ErrNewerFormat)
	}
	return before, nil
}

// damaged returns an error for what no version of this program has written.
func damaged(text string, args ...any) error {
	return fmt.Errorf("%w: %s: somebody else wrote under the prefix, or the cluster is damaged: "+
		"restore a snapshot of the cluster, or remove what is wrong with etcdctl", customstatus.ErrDamaged, fmt.Sprintf(text, args...))
}

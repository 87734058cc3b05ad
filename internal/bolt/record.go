package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/customstatus/customstatus/internal/fingerprint"
	"github.com/customstatus/customstatus/internal/sentinel"
)

// format is the version of the file format. Later versions keep the first four
// and the last eight bytes of the state in place, so that this version can tell
// a newer file from a damaged one.
const format = 2

// The limits of a record, in bytes. An id is also a key of bbolt.
const (
	MaxIDBytes     = 32768
	MaxStringBytes = 1<<16 - 1 // of a name, a type and metadata
	// MaxCatalogBytes is the limit of a catalog's name. The name becomes a part
	// of bucket names and error texts.
	MaxCatalogBytes = 255
)

// StateKey is the one key of a catalog's state bucket.
const StateKey = "state"

// StateBucket returns the name of the bucket with a catalog's state. The state
// is small, so bbolt keeps the bucket inline in the page of buckets, and a
// commit writes no extra page for it.
func StateBucket(catalog string) string { return bucket("customstatus.meta", catalog) }

// RecordBucket returns the name of the bucket with a catalog's records. Each
// record's key is its id.
func RecordBucket(catalog string) string { return bucket("customstatus.records", catalog) }

func bucket(prefix, catalog string) string {
	if catalog == "" {
		return prefix
	}
	return prefix + "/" + catalog
}

// Record is a status in the file.
type Record struct {
	ID, Name, Type, Metadata string
	UpdatedAt                int64 // milliseconds since 1970
	Revision                 uint64
}

// Fingerprint returns the record's part of the catalog's fingerprint.
func (r *Record) Fingerprint() uint64 {
	return fingerprint.Of(r.ID, r.Name, r.Type, r.Metadata, r.UpdatedAt)
}

// Tag marks the catalog that a record belongs to. It is a 32-bit hash of the
// catalog's name. If two catalogs in one file happen to have the same tag (one
// chance in four billion), salvage can't tell apart records that no page leads
// to.
type Tag uint32

// TagOf returns the tag of a catalog. The tag of the empty name is 0.
func TagOf(catalog string) Tag {
	return Tag(crc32.Checksum([]byte(catalog), castagnoli()))
}

// The stored form of a record has, in big-endian order:
//
//	magic byte, format byte
//	tag of the catalog (4)
//	revision (8), time in milliseconds since 1970 (8, signed)
//	lengths of id, name, type and metadata (2 each)
//	id, name, type, metadata
//	Sum of all bytes before (8)
//
// A record has all fields of a status and its own length, so that a reader can
// recognize a record anywhere in a file.
const (
	// RecordMagic is the first byte of a record.
	RecordMagic = 0xC5
	// MinRecordBytes is the size of a record without text, and MaxRecordBytes
	// is the size of the largest record.
	MinRecordBytes = recordHeader + sumSize
	MaxRecordBytes = MinRecordBytes + 4*MaxStringBytes

	recordHeader   = recordLengths + 4*2
	recordLengths  = recordTime + 8
	recordTime     = recordRevision + 8
	recordRevision = recordTag + 4
	recordTag      = 2
	sumSize        = 8
)

var errNotRecord = errors.New("not a record")

// AppendRecord appends the stored form of r. It returns the extended slice and
// the record's sum. No string of r may have more than [MaxStringBytes] bytes.
func AppendRecord(b []byte, tag Tag, r *Record) ([]byte, uint64) {
	start := len(b)
	b = append(b, RecordMagic, format)
	b = binary.BigEndian.AppendUint32(b, uint32(tag))
	b = binary.BigEndian.AppendUint64(b, r.Revision)
	b = binary.BigEndian.AppendUint64(b, uint64(r.UpdatedAt))
	b = binary.BigEndian.AppendUint16(b, uint16(len(r.ID)))
	b = binary.BigEndian.AppendUint16(b, uint16(len(r.Name)))
	b = binary.BigEndian.AppendUint16(b, uint16(len(r.Type)))
	b = binary.BigEndian.AppendUint16(b, uint16(len(r.Metadata)))
	b = append(b, r.ID...)
	b = append(b, r.Name...)
	b = append(b, r.Type...)
	b = append(b, r.Metadata...)
	sum := Sum(b[start:])
	return binary.BigEndian.AppendUint64(b, sum), sum
}

// RecordBytes returns the size of r's stored form in bytes.
func RecordBytes(r *Record) int {
	return MinRecordBytes + len(r.ID) + len(r.Name) + len(r.Type) + len(r.Metadata)
}

// RecordLength returns the size in bytes of the record at the start of b. An
// error is returned when b does not start with a whole record. The checksum is
// not verified.
func RecordLength(b []byte) (int, error) {
	if len(b) < MinRecordBytes || b[0] != RecordMagic {
		return 0, errNotRecord
	}
	if b[1] != format {
		return 0, fmt.Errorf("record of unknown format %d", b[1])
	}
	size := MinRecordBytes
	for i := range 4 {
		size += int(binary.BigEndian.Uint16(b[recordLengths+2*i:]))
	}
	if len(b) < size {
		return 0, errors.New("record cut short")
	}
	return size, nil
}

// ScanRecord decodes the record at the start of b, of any catalog. It returns
// the record with its tag, sum and size in bytes. The record shares no memory
// with b. An error is returned when b does not start with a whole record or the
// checksum is wrong.
func ScanRecord(b []byte) (r Record, tag Tag, sum uint64, size int, err error) {
	tag, sum, size, err = r.scan(b)
	return r, tag, sum, size, err
}

// scan sets r to the record at the start of b. With an error, r is unchanged.
func (r *Record) scan(b []byte) (tag Tag, sum uint64, size int, err error) {
	if size, err = RecordLength(b); err != nil {
		return 0, 0, 0, err
	}
	end := size - sumSize
	sum = Sum(b[:end])
	if binary.BigEndian.Uint64(b[end:]) != sum {
		return 0, 0, 0, errors.New("wrong checksum")
	}
	tag = Tag(binary.BigEndian.Uint32(b[recordTag:]))
	r.Revision = binary.BigEndian.Uint64(b[recordRevision:])
	r.UpdatedAt = int64(binary.BigEndian.Uint64(b[recordTime:]))
	id := int(binary.BigEndian.Uint16(b[recordLengths:]))
	name := int(binary.BigEndian.Uint16(b[recordLengths+2:]))
	typ := int(binary.BigEndian.Uint16(b[recordLengths+4:]))
	b = b[recordHeader:end]
	text := string(b[:id+name]) // one allocation for id and name
	r.ID, r.Name = text[:id], text[id:]
	r.Type = typeText(b[id+name : id+name+typ])
	r.Metadata = string(b[id+name+typ:])
	return tag, sum, size, nil
}

// typeText returns b as a string. The usual types need no allocation.
func typeText(b []byte) string {
	switch string(b) {
	case "online":
		return "online"
	case "away":
		return "away"
	case "busy":
		return "busy"
	case "offline":
		return "offline"
	}
	return string(b)
}

// DecodeRecord decodes b, which must be exactly one record of the catalog with
// the given tag. It returns the record and its sum.
func DecodeRecord(b []byte, tag Tag) (r Record, sum uint64, err error) {
	if sum, err = r.decode(b, tag); err != nil {
		return Record{}, 0, err
	}
	return r, sum, nil
}

// decode sets r to what DecodeRecord returns.
func (r *Record) decode(b []byte, tag Tag) (uint64, error) {
	its, sum, size, err := r.scan(b)
	switch {
	case err != nil:
		return 0, err
	case size != len(b):
		return 0, fmt.Errorf("%d unexpected bytes after the record", len(b)-size)
	case its != tag:
		return 0, errors.New("the record belongs to another catalog")
	}
	return sum, nil
}

// State is the file's summary of a catalog's records.
type State struct {
	Revision uint64
	Count    uint64
	// Digest is the sum of [Mix] of every record's sum, modulo 2^64. A wrong
	// digest shows that an intact record is missing or outdated.
	Digest uint64
	// Fingerprint is the sum of all records' fingerprints, modulo 2^64. Unlike
	// the digest, it does not depend on revisions. If the digest is right, so
	// is the fingerprint, and nothing verifies it again.
	Fingerprint uint64
	// Transaction is bbolt's number of the transaction that wrote the state. It
	// shows whether the state is of the last transaction.
	Transaction uint64
}

// Add adds a record, given by its sum and fingerprint, to the state.
func (s *State) Add(sum, fingerprint uint64) {
	s.Count++
	s.Digest += Mix(sum)
	s.Fingerprint += fingerprint
}

// Remove removes a record, given by its sum and fingerprint, from the state.
func (s *State) Remove(sum, fingerprint uint64) {
	s.Count--
	s.Digest -= Mix(sum)
	s.Fingerprint -= fingerprint
}

// Mix spreads the bits of a record's sum, so that changes of several records do
// not cancel each other out in the digest.
func Mix(sum uint64) uint64 { return fingerprint.Mix(sum) }

const stateSize = 4 + 5*8 + sumSize

// Encode returns the stored form of s.
func (s State) Encode() []byte {
	b := make([]byte, 0, stateSize)
	b = binary.BigEndian.AppendUint32(b, format)
	b = binary.BigEndian.AppendUint64(b, s.Revision)
	b = binary.BigEndian.AppendUint64(b, s.Count)
	b = binary.BigEndian.AppendUint64(b, s.Digest)
	b = binary.BigEndian.AppendUint64(b, s.Fingerprint)
	b = binary.BigEndian.AppendUint64(b, s.Transaction)
	return binary.BigEndian.AppendUint64(b, Sum(b))
}

// DecodeState is the reverse of [State.Encode]. [sentinel.ErrDamaged] is
// returned when b is damaged. For a state of another format, the error says so
// and is not ErrDamaged.
func DecodeState(b []byte) (State, error) {
	if len(b) < 4+sumSize {
		return State{}, fmt.Errorf("%w: the state has only %d bytes", sentinel.ErrDamaged, len(b))
	}
	body, sum := b[:len(b)-sumSize], binary.BigEndian.Uint64(b[len(b)-sumSize:])
	if Sum(body) != sum {
		return State{}, fmt.Errorf("%w: wrong checksum", sentinel.ErrDamaged)
	}
	switch f := binary.BigEndian.Uint32(b); {
	case f > format:
		return State{}, fmt.Errorf("written in format %d by a newer version of customstatus; this version knows format %d only", f, format)
	case f == 1:
		return State{}, fmt.Errorf("written in format 1 by customstatus before its first release; this version knows format %d only", format)
	case f != format || len(b) != stateSize:
		return State{}, fmt.Errorf("%w: unknown format", sentinel.ErrDamaged)
	}
	return State{
		Revision:    binary.BigEndian.Uint64(b[4:]),
		Count:       binary.BigEndian.Uint64(b[12:]),
		Digest:      binary.BigEndian.Uint64(b[20:]),
		Fingerprint: binary.BigEndian.Uint64(b[28:]),
		Transaction: binary.BigEndian.Uint64(b[36:]),
	}, nil
}

// Sum returns a 64-bit checksum of b: two 32-bit CRCs with unrelated
// polynomials. Together they find as many errors as a 64-bit CRC. Processors
// have instructions for both, so they are fast.
func Sum(b []byte) uint64 {
	return uint64(crc32.Checksum(b, castagnoli()))<<32 | uint64(crc32.ChecksumIEEE(b))
}

// castagnoli returns the table of package hash/crc32, which that package makes
// once.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/customstatus/customstatus/internal/fingerprint"
	"github.com/customstatus/customstatus/internal/sentinel"
)

// format is the version of all that the engine writes. A later version keeps the
// first four and the last eight bytes of the state in their place, so that this
// one can tell a newer file from a damaged one.
const format = 2

// The limits of what a record can hold, in bytes. An id is also a key of bbolt.
const (
	MaxIDBytes     = 32768
	MaxStringBytes = 1<<16 - 1 // of a name, of a type and of metadata
	// MaxCatalogBytes is the limit of a catalog's name, which is part of the
	// names of its buckets and of messages.
	MaxCatalogBytes = 255
)

// StateKey is the one key of a catalog's state bucket.
const StateKey = "state"

// StateBucket returns the name of the bucket that holds the state of the catalog
// with the given name. The state is small, so that bbolt keeps the bucket inside
// the page that leads to the records: it costs a commit no page of its own.
func StateBucket(catalog string) string { return bucket("customstatus.meta", catalog) }

// RecordBucket returns the name of the bucket that holds the records of the
// catalog with the given name, each under its id.
func RecordBucket(catalog string) string { return bucket("customstatus.records", catalog) }

func bucket(prefix, catalog string) string {
	if catalog == "" {
		return prefix
	}
	return prefix + "/" + catalog
}

// Record is a status as the file keeps it.
type Record struct {
	ID, Name, Type, Metadata string
	UpdatedAt                int64 // milliseconds since 1970
	Revision                 uint64
}

// Fingerprint returns the record's part of the catalog's fingerprint.
func (r *Record) Fingerprint() uint64 {
	return fingerprint.Of(r.ID, r.Name, r.Type, r.Metadata, r.UpdatedAt)
}

// Tag is the number by which a record tells to which catalog it belongs: a hash
// of the catalog's name. Two catalogs in one file have the same tag by a chance of
// one in four billion; salvage could then mix what nothing leads to.
type Tag uint32

// TagOf returns the tag of the catalog with the given name. That of the catalog
// without a name is 0.
func TagOf(catalog string) Tag {
	return Tag(crc32.Checksum([]byte(catalog), castagnoli()))
}

// A stored record is, in big-endian order:
//
//	magic byte, format byte
//	tag of the catalog (4)
//	revision (8), time in milliseconds since 1970 (8, signed)
//	lengths of id, name, type and metadata (2 each)
//	id, name, type, metadata
//	Sum of all that (8)
//
// It says all there is to say of a status and where it ends, so that it can be
// told from anything else wherever in a file it turns up.
const (
	// RecordMagic is the first byte of a record.
	RecordMagic = 0xC5
	// MinRecordBytes is the size of a record without text, MaxRecordBytes that of
	// the largest.
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

// AppendRecord appends r in its stored form, and returns the record's sum too. No
// string of r may have more than [MaxStringBytes].
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

// RecordBytes returns the size of the stored form of r.
func RecordBytes(r *Record) int {
	return MinRecordBytes + len(r.ID) + len(r.Name) + len(r.Type) + len(r.Metadata)
}

// RecordLength returns the size of the record that may be at the start of b.
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

// ScanRecord returns the record at the start of b, of whatever catalog, with its
// tag, its sum and its size. What it returns refers to no byte of b.
func ScanRecord(b []byte) (r Record, tag Tag, sum uint64, size int, err error) {
	tag, sum, size, err = r.scan(b)
	return r, tag, sum, size, err
}

// scan sets r to the record at the start of b, and leaves it as it is if there is
// none.
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
	text := string(b[:id+name]) // one allocation for both
	r.ID, r.Name = text[:id], text[id:]
	r.Type = typeText(b[id+name : id+name+typ])
	r.Metadata = string(b[id+name+typ:])
	return tag, sum, size, nil
}

// typeText returns b as a string, without an allocation for the usual types.
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

// DecodeRecord returns the record that is all of b and belongs to the catalog with
// the given tag, and the record's sum.
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
		return 0, fmt.Errorf("%d bytes behind the record", len(b)-size)
	case its != tag:
		return 0, errors.New("the record belongs to another catalog")
	}
	return sum, nil
}

// State is what the file says of all records of a catalog together.
type State struct {
	Revision uint64
	Count    uint64
	// Digest is the sum of all records' mixed sums, modulo 2^64. It finds a record
	// that is missing, and one that is older than was written last, though the
	// record is intact itself.
	Digest uint64
	// Fingerprint is the sum of all records' fingerprints, modulo 2^64. Unlike the
	// digest, it has no revisions in it. A file whose digest is right needs no
	// proof of it.
	Fingerprint uint64
	// Transaction is bbolt's number of the transaction that wrote the state. It
	// tells the last state from one that was left standing.
	Transaction uint64
}

// Add counts in a record that has the given sum and fingerprint.
func (s *State) Add(sum, fingerprint uint64) {
	s.Count++
	s.Digest += Mix(sum)
	s.Fingerprint += fingerprint
}

// Remove counts out a record that has the given sum and fingerprint.
func (s *State) Remove(sum, fingerprint uint64) {
	s.Count--
	s.Digest -= Mix(sum)
	s.Fingerprint -= fingerprint
}

// Mix makes of sums that differ in a pattern numbers that don't, so that changes
// of several records do not add up to nothing.
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

// DecodeState is the reverse of [State.Encode]. A state of another format is an
// error that says so, and not damage.
func DecodeState(b []byte) (State, error) {
	if len(b) < 4+sumSize {
		return State{}, fmt.Errorf("%w: it has %d bytes", sentinel.ErrDamaged, len(b))
	}
	body, sum := b[:len(b)-sumSize], binary.BigEndian.Uint64(b[len(b)-sumSize:])
	if Sum(body) != sum {
		return State{}, fmt.Errorf("%w: wrong checksum", sentinel.ErrDamaged)
	}
	switch f := binary.BigEndian.Uint32(b); {
	case f > format:
		return State{}, fmt.Errorf("written in format %d by a newer version of customstatus, which must read it; this one knows format %d", f, format)
	case f == 1:
		return State{}, fmt.Errorf("written in format 1, by customstatus as it was before its first release; this version knows format %d only", format)
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

// Sum is two CRCs of b with unrelated polynomials, which together find what a
// CRC of 64 bits does, at the speed of the instructions that the processor has
// for them.
func Sum(b []byte) uint64 {
	return uint64(crc32.Checksum(b, castagnoli()))<<32 | uint64(crc32.ChecksumIEEE(b))
}

// castagnoli returns the package hash/crc32's own table, which it makes once.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

package customstatus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"
)

// The buckets of a store in its bbolt file, and the one key of the first.
//
// The state of the store is small, so that bbolt keeps its bucket inside the
// page that leads to the records: it costs a commit no page of its own.
const (
	boltMeta    = "customstatus.meta"    // boltState → the state
	boltRecords = "customstatus.records" // id → record

	boltStateKey = "state"
)

// boltFormat is the version of all that the store writes. A version to come
// keeps the first four and the last eight bytes of the state in their place, so
// that this one can tell a newer file from a damaged one.
const boltFormat = 1

// storedState is what the store knows of all records together.
type storedState struct {
	revision Revision
	count    uint64
	// digest is the sum of all records' sums, modulo 2^64. A record that is
	// missing, or that is an older one than was written last, is found by it
	// though it is intact itself.
	digest uint64
	// transaction is bbolt's number of the transaction that wrote the state. By
	// it, SalvageBolt tells the last state from one that was left standing.
	transaction uint64
}

// add counts in a record that has the given sum.
func (s *storedState) add(sum uint64) {
	s.count++
	s.digest += spread(sum)
}

// remove counts out a record that has the given sum.
func (s *storedState) remove(sum uint64) {
	s.count--
	s.digest -= spread(sum)
}

// spread makes of sums that differ in a pattern numbers that don't, so that
// changes of several records do not add up to nothing. It is the finalizer of
// splitmix64.
func spread(sum uint64) uint64 {
	sum ^= sum >> 30
	sum *= 0xbf58476d1ce4e5b9
	sum ^= sum >> 27
	sum *= 0x94d049bb133111eb
	return sum ^ sum>>31
}

const stateSize = 4 + 8 + 8 + 8 + 8 + 8

func (s storedState) encode() []byte {
	b := make([]byte, 0, stateSize)
	b = binary.BigEndian.AppendUint32(b, boltFormat)
	b = binary.BigEndian.AppendUint64(b, uint64(s.revision))
	b = binary.BigEndian.AppendUint64(b, s.count)
	b = binary.BigEndian.AppendUint64(b, s.digest)
	b = binary.BigEndian.AppendUint64(b, s.transaction)
	return binary.BigEndian.AppendUint64(b, sum64(b))
}

// decodeState is the reverse of encode.
func decodeState(b []byte) (storedState, error) {
	if len(b) < 4+8 {
		return storedState{}, fmt.Errorf("%w: it has %d bytes", ErrDamaged, len(b))
	}
	body, sum := b[:len(b)-8], binary.BigEndian.Uint64(b[len(b)-8:])
	if sum64(body) != sum {
		return storedState{}, fmt.Errorf("%w: wrong checksum", ErrDamaged)
	}
	if format := binary.BigEndian.Uint32(b); format > boltFormat {
		return storedState{}, fmt.Errorf("written in format %d by a newer version of customstatus, which must read it; this one knows format %d", format, boltFormat)
	}
	if len(b) != stateSize || binary.BigEndian.Uint32(b) != boltFormat {
		return storedState{}, fmt.Errorf("%w: unknown format", ErrDamaged)
	}
	return storedState{
		revision:    Revision(binary.BigEndian.Uint64(b[4:])),
		count:       binary.BigEndian.Uint64(b[12:]),
		digest:      binary.BigEndian.Uint64(b[20:]),
		transaction: binary.BigEndian.Uint64(b[28:]),
	}, nil
}

// A record is, in big-endian order:
//
//	magic byte, format byte
//	revision (8), time in milliseconds since 1970 (8, signed)
//	lengths of id, name and status type (2 each)
//	id, name, status type
//	sum64 of all that (8)
//
// It says all there is to say of a status and where it ends, so that it can be
// told from anything else wherever in a file it turns up.
const (
	recordMagic  = 0xC5
	recordHeader = 2 + 8 + 8 + 3*2
	recordMin    = recordHeader + 8
)

var errNotRecord = errors.New("not a record")

// appendRecord appends s as a record, and returns the record's sum too. The
// strings must have less than 64 KiB.
func appendRecord(b []byte, s *CustomUserStatus) ([]byte, uint64) {
	start := len(b)
	b = append(b, recordMagic, boltFormat)
	b = binary.BigEndian.AppendUint64(b, uint64(s.Revision))
	b = binary.BigEndian.AppendUint64(b, uint64(s.UpdatedAt.UnixMilli()))
	b = binary.BigEndian.AppendUint16(b, uint16(len(s.ID)))
	b = binary.BigEndian.AppendUint16(b, uint16(len(s.Name)))
	b = binary.BigEndian.AppendUint16(b, uint16(len(s.StatusType)))
	b = append(b, s.ID...)
	b = append(b, s.Name...)
	b = append(b, s.StatusType...)
	sum := sum64(b[start:])
	return binary.BigEndian.AppendUint64(b, sum), sum
}

func recordSize(s *CustomUserStatus) int {
	return recordMin + len(s.ID) + len(s.Name) + len(s.StatusType)
}

// recordLength returns the size of the record that may be at the start of b.
func recordLength(b []byte) (int, error) {
	if len(b) < recordMin || b[0] != recordMagic {
		return 0, errNotRecord
	}
	if b[1] != boltFormat {
		return 0, fmt.Errorf("record of unknown format %d", b[1])
	}
	size := recordMin
	for i := range 3 {
		size += int(binary.BigEndian.Uint16(b[18+2*i:]))
	}
	if len(b) < size {
		return 0, errors.New("record cut short")
	}
	return size, nil
}

// scanRecord returns the record at the start of b, its sum and its size. What it
// returns refers to no byte of b.
func scanRecord(b []byte) (s CustomUserStatus, sum uint64, size int, err error) {
	if size, err = recordLength(b); err != nil {
		return s, 0, 0, err
	}
	id := int(binary.BigEndian.Uint16(b[18:]))
	name := int(binary.BigEndian.Uint16(b[20:]))
	end := size - 8
	sum = sum64(b[:end])
	if binary.BigEndian.Uint64(b[end:]) != sum {
		return s, 0, 0, errors.New("wrong checksum")
	}
	s.Revision = Revision(binary.BigEndian.Uint64(b[2:]))
	s.UpdatedAt = time.UnixMilli(int64(binary.BigEndian.Uint64(b[10:]))).UTC()
	text := string(b[recordHeader : recordHeader+id+name]) // one allocation for both
	s.ID, s.Name = text[:id], text[id:]
	switch t := b[recordHeader+id+name : end]; string(t) {
	case string(Online):
		s.StatusType = Online
	case string(Away):
		s.StatusType = Away
	case string(Busy):
		s.StatusType = Busy
	case string(Offline):
		s.StatusType = Offline
	default:
		s.StatusType = StatusType(t)
	}
	return s, sum, size, nil
}

// decodeRecord returns the record that is all of b, and its sum.
func decodeRecord(b []byte) (CustomUserStatus, uint64, error) {
	s, sum, size, err := scanRecord(b)
	if err == nil && size != len(b) {
		err = fmt.Errorf("%d bytes behind the record", len(b)-size)
	}
	return s, sum, err
}

// sum64 is two CRCs of b with unrelated polynomials, which together find what a
// CRC of 64 bits does, at the speed of the instructions that the processor has
// for them.
func sum64(b []byte) uint64 {
	return uint64(crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))<<32 | uint64(crc32.ChecksumIEEE(b))
}

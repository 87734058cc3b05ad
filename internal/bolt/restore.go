package bolt

import (
	"bytes"
	"encoding/binary"
)

// RestoreRecord returns the record whose damaged form is b, which stands under the
// given key, if all that is damaged is told by something else: the key is the id,
// and how a record of a catalog begins is known. The key may be damaged itself,
// but not its length. What it returns has the right checksum.
func RestoreRecord(b []byte, tag Tag, key string) (r Record, sum uint64, ok bool) {
	if len(b) < MinRecordBytes+len(key) || len(key) > MaxStringBytes {
		return Record{}, 0, false
	}
	c := bytes.Clone(b)
	c[0], c[1] = RecordMagic, format
	binary.BigEndian.PutUint32(c[recordTag:], uint32(tag))
	binary.BigEndian.PutUint16(c[recordLengths:], uint16(len(key)))
	r, sum, err := DecodeRecord(c, tag)
	if err != nil {
		copy(c[recordHeader:], key)
		r, sum, err = DecodeRecord(c, tag)
	}
	return r, sum, err == nil
}

// SaysID reports whether a record, which may be damaged, has the given id where its
// id stands.
func SaysID(b []byte, id string) bool {
	return len(b) >= MinRecordBytes+len(id) && string(b[recordHeader:recordHeader+len(id)]) == id
}

package bolt

import (
	"bytes"
	"encoding/binary"
)

// RestoreRecord restores a record from its damaged form b and its key. It
// succeeds if only known parts of b are damaged: the fixed beginning of every
// record of the catalog, and the id, which equals the key. The bytes of the key
// may be damaged too, but not its length. The returned record has a right
// checksum.
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

// SaysID reports whether the record b, which may be damaged, has the given
// bytes in the place of its id.
func SaysID(b []byte, id string) bool {
	return len(b) >= MinRecordBytes+len(id) && string(b[recordHeader:recordHeader+len(id)]) == id
}

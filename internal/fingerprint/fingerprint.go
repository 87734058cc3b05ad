// Package fingerprint computes the hash of one status, of which a catalog's
// fingerprint is the sum. It is a format: every store, process and version has
// to come to the same number.
package fingerprint

// The tags of the fields that are hashed. A tag is never given a second meaning,
// and a field to come gets a new one.
const (
	tagID       = 1
	tagName     = 2
	tagType     = 3
	tagMetadata = 4
	tagTime     = 5
)

// Of returns the hash of a status, whose time is in milliseconds since 1970.
//
// The text that is hashed has, for each string that is not empty, its tag, its
// length in four bytes and its bytes, and last the tag of the time and the time
// in eight bytes; numbers are big-endian. So a field that is absent adds nothing,
// and no two statuses have the same text. The hash is the text's FNV-1a of 64
// bits, put through the finalizer of splitmix64, so that changes of several
// statuses do not cancel each other in the sum.
func Of(id, name, statusType, metadata string, milliseconds int64) uint64 {
	h := uint64(offset)
	h = addField(h, tagID, id)
	h = addField(h, tagName, name)
	h = addField(h, tagType, statusType)
	h = addField(h, tagMetadata, metadata)
	h = addNumber(add(h, tagTime), uint64(milliseconds), 8)
	return Mix(h)
}

// The numbers of FNV-1a. The package hash/fnv would allocate.
const (
	offset = 0xcbf29ce484222325
	prime  = 0x100000001b3
)

func add(h uint64, b byte) uint64 { return (h ^ uint64(b)) * prime }

func addField(h uint64, tag byte, s string) uint64 {
	if s == "" {
		return h
	}
	h = addNumber(add(h, tag), uint64(len(s)), 4)
	for i := range len(s) {
		h = add(h, s[i])
	}
	return h
}

func addNumber(h, n uint64, bytes int) uint64 {
	for shift := 8 * (bytes - 1); shift >= 0; shift -= 8 {
		h = add(h, byte(n>>shift))
	}
	return h
}

// Mix is the finalizer of splitmix64: it makes numbers that differ in a pattern
// differ in all bits.
func Mix(n uint64) uint64 {
	n ^= n >> 30
	n *= 0xbf58476d1ce4e5b9
	n ^= n >> 27
	n *= 0x94d049bb133111eb
	return n ^ n>>31
}

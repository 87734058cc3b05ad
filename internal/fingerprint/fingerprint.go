// Package fingerprint computes the hash of one status. A catalog's fingerprint
// is the sum of its statuses' hashes, modulo 2^64. The hash is a format: every
// store, process and version computes the same number.
package fingerprint

// The tags of the hashed fields. A tag keeps its meaning for ever; a new field
// gets a new tag.
const (
	tagID       = 1
	tagName     = 2
	tagType     = 3
	tagMetadata = 4
	tagTime     = 5
)

// Of returns the hash of a status. Its time is in milliseconds since 1970.
//
// The hashed text consists of each string that is not empty, then the time. A
// string is its tag, its length in four bytes and its bytes; the time is its
// tag and eight bytes. Numbers are big-endian. So an absent field adds nothing,
// and no two statuses have the same text. The hash is the 64-bit FNV-1a of the
// text, followed by [Mix], so that changes of several statuses do not cancel
// each other out in the sum.
func Of(id, name, statusType, metadata string, milliseconds int64) uint64 {
	h := uint64(offset)
	h = addField(h, tagID, id)
	h = addField(h, tagName, name)
	h = addField(h, tagType, statusType)
	h = addField(h, tagMetadata, metadata)
	h = addNumber(add(h, tagTime), uint64(milliseconds), 8)
	return Mix(h)
}

// The constants of FNV-1a. Package hash/fnv would allocate.
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

// Mix applies the finalizer of splitmix64, which spreads a difference in a few
// bits over all bits.
func Mix(n uint64) uint64 {
	n ^= n >> 30
	n *= 0xbf58476d1ce4e5b9
	n ^= n >> 27
	n *= 0x94d049bb133111eb
	return n ^ n>>31
}

package statusfile

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// sniffed is how many bytes of a text are enough to tell what it is.
const sniffed = 32

// foreign returns an error that says what a text is and what to do with it, or nil if
// its first bytes may be JSON in UTF-8.
func foreign(head []byte) error {
	has := func(offset int, magic string) bool {
		return len(head) >= offset && bytes.HasPrefix(head[offset:], []byte(magic))
	}
	switch {
	case has(0, "\xff\xfe"), has(0, "\xfe\xff"):
		return errors.New("UTF-16, as PowerShell writes it; convert it first: iconv -f UTF-16 -t UTF-8")
	case has(0, "{\x00"), has(0, "[\x00"):
		return errors.New("UTF-16 without a byte order mark; convert it first: iconv -f UTF-16LE -t UTF-8")
	case has(0, "\x00{"), has(0, "\x00["):
		return errors.New("UTF-16 without a byte order mark; convert it first: iconv -f UTF-16BE -t UTF-8")
	case isBSON(head):
		return errors.New("BSON, as mongodump writes it; convert it first: bsondump FILE.bson > FILE.json")
	case has(0, "\x6d\xe2\x99\x81"):
		return errors.New("an archive of mongodump; restore it, and write the collection with mongoexport")
	case has(0, "\x1f\x8b"):
		return errors.New("compressed by gzip; decompress it first: gunzip -c FILE | customstatusd import -")
	case has(0, "PK\x03\x04"):
		return errors.New("a zip archive; unpack it first")
	case has(16, "\xed\xda\x0c\xed"):
		return errors.New("a database; export it first: customstatusd export --db FILE")
	case has(0, "_id,"), has(0, `"_id",`):
		return errors.New("CSV; mongoexport writes JSON without --type")
	}
	return nil
}

// isBSON reports whether a text begins like a document in BSON: with its length, the
// type of its first element, and a key. No JSON has a zero byte.
func isBSON(head []byte) bool {
	if len(head) < 5 {
		return false
	}
	const most = 17 << 20 // MongoDB allows 16 MiB and some
	length := binary.LittleEndian.Uint32(head)
	kind := head[4]
	return 5 <= length && length < most && (kind <= 0x13 || kind == 0x7F || kind == 0xFF)
}

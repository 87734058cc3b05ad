package contestant

import (
	"encoding/binary"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"github.com/customstatus/customstatus"
)

// NameLength is the number of bytes in each name that the benchmarks use.
const NameLength = 20

// Statuses returns n statuses, the same for the same seed. The names are in no order, and
// the ids are those of [uuid.NewV7] over n seconds. Statuses of two seeds have no id or
// name in common.
func Statuses(n int, seed uint64) []customstatus.CustomUserStatus {
	rng := rand.New(rand.NewPCG(seed, 1))
	types := []customstatus.StatusType{customstatus.Online, customstatus.Away, customstatus.Busy, customstatus.Offline}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	out := make([]customstatus.CustomUserStatus, n)
	for i := range out {
		t := start.Add(time.Duration(i) * time.Second)
		var id uuid.UUID
		binary.BigEndian.PutUint64(id[8:], rng.Uint64())
		binary.BigEndian.PutUint64(id[:], uint64(t.UnixMilli())<<16|rng.Uint64N(1<<12))
		id[6] = 0x70 | id[6]&0x0f // version
		id[8] = 0x80 | id[8]&0x3f // variant
		out[i] = customstatus.CustomUserStatus{
			ID: id.String(), Name: name(rng), StatusType: types[i%len(types)], UpdatedAt: t,
		}
	}
	return out
}

// Names returns n names that no status of [Statuses] with another seed has.
func Names(n int, seed uint64) []string {
	rng := rand.New(rand.NewPCG(seed, 1))
	out := make([]string, n)
	for i := range out {
		out[i] = name(rng)
	}
	return out
}

// name makes one of 26^20 names, so that two equal names are not to be expected.
func name(rng *rand.Rand) string {
	var b [NameLength]byte
	for i := range b {
		b[i] = 'a' + byte(rng.IntN(26))
	}
	return string(b[:])
}

package bolt

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/customstatus/customstatus/internal/damage"
)

// fileOp is an operation of a store on its file.
type fileOp struct {
	kind     opKind
	at       int64  // of a write
	data     []byte // of a write
	size     int64  // of a resize
	revision uint64
}

type opKind int

const (
	opWrite opKind = iota
	opResize
	opSync
	opAcknowledge // the commit of a revision has returned
)

func (op fileOp) apply(file []byte) []byte {
	end := op.size
	if op.kind == opWrite {
		end = op.at + int64(len(op.data))
	}
	if end > int64(len(file)) {
		file = append(file, make([]byte, end-int64(len(file)))...)
	}
	if op.kind == opWrite {
		copy(file[op.at:], op.data)
		return file
	}
	return file[:end]
}

// sector is the number of bytes that a disk writes as a whole or not at all.
const sector = 512

// tear applies a random part of an operation, as a power cut may leave it
// before the next sync.
func (op fileOp) tear(random *rand.Rand, file []byte) []byte {
	switch random.IntN(3) {
	case 0:
		return file
	case 1:
		return op.apply(file)
	}
	for i := 0; i < len(op.data); i += sector {
		if random.IntN(2) == 0 {
			part := fileOp{kind: opWrite, at: op.at + int64(i), data: op.data[i:min(i+sector, len(op.data))]}
			file = part.apply(file)
		}
	}
	return file
}

// cutPower calls check with files that a power cut could leave somewhere in the
// course of the operations on a file that is synced before: all that was synced, and of what came after the last
// sync anything, in any order, and torn between sectors.
func cutPower(random *rand.Rand, synced []byte, ops []fileOp, each int, check func(file []byte, acknowledged uint64)) {
	var (
		pending      []fileOp
		acknowledged uint64
	)
	for _, op := range ops {
		switch op.kind {
		case opAcknowledge:
			acknowledged = op.revision
		case opSync:
			for dropped := range pending { // one write is missing
				file := bytes.Clone(synced)
				for i, p := range pending {
					if i != dropped {
						file = p.apply(file)
					}
				}
				check(file, acknowledged)
			}
			for range each {
				file := bytes.Clone(synced)
				for _, i := range random.Perm(len(pending)) {
					file = pending[i].tear(random, file)
				}
				check(file, acknowledged)
			}
			for _, p := range pending {
				synced = p.apply(synced)
			}
			pending = nil
		default:
			pending = append(pending, op)
			file := bytes.Clone(synced)
			for _, p := range pending {
				file = p.apply(file)
			}
			check(file, acknowledged)
		}
	}
}

// powerHistory makes the commits of which the power is cut.
func powerHistory(t testing.TB, pageSize int, s store, after func(contents)) {
	h := newHistory(uint64(pageSize))
	commits := 12
	if torture() {
		commits = 60
	}
	for i := range commits {
		size := 3
		if i%5 == 1 {
			size = 60
		}
		h.run(t, 1, size, s)
		after(load(t, s))
	}
}

// survives requires that every file that a power cut could leave has what was
// acknowledged, or the next commit, and nothing else.
func survives(t *testing.T, file []byte, ops []fileOp, states map[uint64]contents) {
	path := tempPath(t)
	each := 12
	if torture() {
		each = 150
	}
	cuts, later := 0, 0
	cutPower(rand.New(rand.NewPCG(1, 1)), file, ops, each, func(file []byte, acknowledged uint64) {
		damage.Overwrite(t, path, file)
		got, err := reopen(path, put("added", "added later", 0))
		require.NoError(t, err)
		require.GreaterOrEqual(t, got.revision, acknowledged)
		require.LessOrEqual(t, got.revision, acknowledged+1)
		require.True(t, states[got.revision].equal(got), "revision %d", got.revision)
		cuts++
		if got.revision > acknowledged {
			later++
		}
	})
	t.Attr("power-cuts", fmt.Sprintf("%d in %d operations, %d kept a commit that had not returned", cuts, len(ops), later))
	require.NotZero(t, later)
	require.Greater(t, cuts, 2*later)
}

// TestStoreSurvivesPowerCuts takes it for granted that a commit writes all
// pages, syncs, writes the meta page and syncs again, which another test checks.
// What it writes is seen from the file before and after.
func TestStoreSurvivesPowerCuts(t *testing.T) {
	t.Parallel()
	for _, pageSize := range []int{4096, 1024} {
		t.Run(fmt.Sprint(pageSize), func(t *testing.T) {
			path := tempPath(t)
			s, err := Open(path, &Options{Bolt: &bbolt.Options{PageSize: pageSize}})
			require.NoError(t, err)
			file, err := os.ReadFile(path)
			require.NoError(t, err)
			first := file
			var ops []fileOp
			states := map[uint64]contents{0: load(t, s)}
			powerHistory(t, pageSize, s, func(now contents) {
				before := file
				file, err = os.ReadFile(path)
				require.NoError(t, err)
				if states[now.revision].statuses != nil {
					return // it was refused
				}
				states[now.revision] = now
				if len(file) > len(before) {
					ops = append(ops, fileOp{kind: opResize, size: int64(len(file))}, fileOp{kind: opSync})
				}
				var meta []fileOp
				for at := 0; at < len(file); at += pageSize {
					page := file[at : at+pageSize]
					if at < len(before) && bytes.Equal(page, before[at:at+pageSize]) {
						continue
					}
					write := fileOp{kind: opWrite, at: int64(at), data: page}
					if at < 2*pageSize {
						meta = append(meta, write)
					} else if at < len(before) || !bytes.Equal(page, make([]byte, pageSize)) {
						ops = append(ops, write)
					}
				}
				require.Len(t, meta, 1)
				ops = append(ops, fileOp{kind: opSync}, meta[0], fileOp{kind: opSync},
					fileOp{kind: opAcknowledge, revision: now.revision})
			})
			require.NoError(t, s.Close())
			survives(t, first, ops, states)
		})
	}
}

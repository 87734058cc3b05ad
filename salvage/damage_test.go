package salvage

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/internal/boltfile"
	"github.com/customstatus/customstatus/internal/damage"
)

// salvaged requires that File keeps its promises for a damaged file.
func (img image) salvaged(t testing.TB, path string, b []byte, what string) {
	t.Helper()
	damage.Overwrite(t, path, b)
	saved, err := File(path, nil)
	require.NoError(t, err, what)
	ids, names := make(map[string]customstatus.CustomUserStatus), make(map[string]bool)
	for _, status := range saved.Statuses {
		_, twice := ids[status.ID]
		require.False(t, twice || names[status.Name], what)
		ids[status.ID], names[status.Name] = status, true
		require.True(t, img.ever[status], "%s: never existed: %v", what, status)
	}
	if saved.Complete {
		require.True(t, img.want.equal(contents{saved.Revision, ids}), what)
	} else {
		require.NotEmpty(t, saved.Problems, what)
	}
	listed, doubtful := make(map[customstatus.CustomUserStatus]bool), make(map[customstatus.CustomUserStatus]bool)
	unsure := false
	for _, p := range saved.Problems {
		listed[p.Status] = true
		if p.Kind == Doubtful {
			doubtful[p.Status] = true
		}
		require.NotEmpty(t, p.Reason, what)
		unsure = unsure || strings.Contains(p.Reason, "not known") || strings.Contains(p.Reason, "a meta page may be damaged") || strings.Contains(p.Reason, "some pages contradict each other")
	}
	// File can't notice an outdated page if another page is lost.
	unsure = unsure || strings.Contains(what, "; ") && (strings.Contains(what, "as it was") || strings.Contains(what, "renumbered"))
	for id, status := range ids {
		// A status that differs from the wanted one is listed as doubtful.
		require.True(t, saved.Complete || unsure || doubtful[status] || status == img.want.statuses[id], "%s: wrong: %v", what, status)
	}
	for id, status := range img.want.statuses {
		// A record on an undamaged page is saved or, if its name is disputed,
		// listed.
		page, end := img.pages[id][0], img.pages[id][1]
		if end <= len(b) && bytes.Equal(b[page:end], img.file[page:end]) {
			if got, ok := ids[id]; !ok || got != status {
				require.True(t, listed[status], "%s: lost: %v, got %v", what, status, got)
			}
		}
	}
}

// TestFileAfterALostWrite replaces each page by each of its earlier contents,
// as a disk does that loses a single write.
func TestFileAfterALostWrite(t *testing.T) {
	t.Parallel()
	path := tempPath(t)
	seeds := 4
	if torture() {
		seeds = 40
	}
	lost := 0
	for seed := range uint64(seeds) {
		for _, img := range []image{
			makeImage(t, 100+seed, 1024, 250, 30, 12),
			makeImage(t, 200+seed, 4096, 1000, 30, 12),
			makeImage(t, 300+seed, 2048, 450, 40, 12),
		} {
			survey := survey(t, img.file, nil)
			for p := 2; p < int(survey.Pages); p++ {
				from, to := p*img.pageSize, (p+1)*img.pageSize
				if survey.Usage(uint64(p)) != boltfile.InUse {
					continue
				}
				previous := img.file[from:to]
				for i, past := range slices.Backward(img.pasts) {
					if to > len(past) || bytes.Equal(past[from:to], previous) || bytes.Equal(past[from:to], img.file[from:to]) {
						continue
					}
					previous = past[from:to]
					b := bytes.Clone(img.file)
					copy(b[from:to], previous)
					img.salvaged(t, path, b, fmt.Sprintf("seed %d, pages of %d bytes: page %d as it was after commit %d", seed, img.pageSize, p, i))
					lost++
				}
			}
		}
	}
	t.Attr("lost-writes", fmt.Sprint(lost))
}

func TestFileAfterEveryFlippedByte(t *testing.T) {
	t.Parallel()
	img := makeImage(t, 5, 1024, 3, 12, 3)
	path := tempPath(t)
	flips := 0
	for what, b := range damage.Flips(img.file, img.pageSize, torture()) {
		img.salvaged(t, path, b, what)
		flips++
	}
	t.Attr("flips", fmt.Sprint(flips))
}

func TestFileAfterRandomDamage(t *testing.T) {
	t.Parallel()
	images := []image{
		makeImage(t, 6, 4096, 1500, 60, 40),
		makeImage(t, 7, 1024, 300, 60, 30),
		makeImage(t, 8, 4096, 10, 30, 5),
	}
	rounds := 300
	if torture() {
		rounds = 10_000
	}
	random := rand.New(rand.NewPCG(3, 4))
	path := tempPath(t)
	for i := range rounds {
		img := images[i%len(images)]
		b, what := damage.Some(random, img.file, img.past, img.pageSize)
		img.salvaged(t, path, b, what)
	}
	t.Attr("damages", fmt.Sprint(rounds))
}

func TestFileAfterAPageThatWasNotWritten(t *testing.T) {
	t.Parallel()
	img := makeImage(t, 9, 1024, 200, 40, 10)
	path := tempPath(t)
	for what, b := range damage.OldPages(img.file, img.past, img.pageSize) {
		img.salvaged(t, path, b, what)
	}
}

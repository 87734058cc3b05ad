package contestant

import (
	"errors"
	"testing"

	"github.com/customstatus/customstatus"
)

// TestImportInParts: an import that is too long for one commit of a bbolt file is made in
// as few commits as the file allows.
func TestImportInParts(t *testing.T) {
	c, err := openCustomStatusBolt(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	in := Statuses(boltImport+1, 1)
	_, err = Catalog(c).Import(t.Context(), in)
	var tooLarge *customstatus.TooLargeError
	if !errors.As(err, &tooLarge) || tooLarge.MaxChanges != boltImport {
		t.Fatalf("one more than fits in a commit: got error %v, want that %d fit", err, boltImport)
	}
	if err := c.Import(in); err != nil {
		t.Fatal(err)
	}
	if got := Catalog(c).Len(); got != len(in) {
		t.Errorf("%d statuses, want %d", got, len(in))
	}
	if got := Catalog(c).Revision(); got != 2 {
		t.Errorf("at revision %d after an import in two parts", got)
	}
	for _, s := range []customstatus.CustomUserStatus{in[0], in[boltImport-1], in[boltImport]} {
		wantStatus(t, c, s)
	}
}

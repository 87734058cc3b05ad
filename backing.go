package customstatus

import (
	"context"
	"errors"

	"github.com/customstatus/customstatus/internal/view"
)

// backing is the store of a catalog, as internal/source sees it.
type backing struct{ Store }

// Load returns what the store holds.
func (b backing) Load(ctx context.Context) (view.Contents[CustomUserStatus], error) {
	contents, err := b.Store.Load(ctx)
	return view.Contents[CustomUserStatus]{
		Values: contents.Statuses, Revision: uint64(contents.Revision), Shared: contents.Shared,
		Fingerprint: uint64(contents.Fingerprint), FingerprintKnown: contents.FingerprintKnown, Rewound: contents.Rewound,
	}, err
}

// Revision returns the store's revision as a plain number.
func (b backing) Revision(ctx context.Context) (uint64, error) {
	revision, err := b.Store.Revision(ctx)
	return uint64(revision), err
}

// reopen opens the store again by [Options.Reopen].
func (o *Options) reopen(ctx context.Context) (backing, error) {
	store, err := o.Reopen(ctx)
	if err == nil && store == nil {
		err = errors.New("Options.Reopen has returned no store")
	}
	return backing{store}, err
}

// Package pgstore keeps a catalog of custom statuses in a PostgreSQL database,
// which several servers share:
//
//	store, err := pgstore.Open(ctx, "postgres://chat@db.example/chat", nil)
//	if err != nil {
//		return err
//	}
//	catalog, err := customstatus.OpenShared(ctx, store, nil)
//	if err != nil {
//		return errors.Join(err, store.Close())
//	}
//	defer catalog.Close() // closes the store
//
// A host that has a pool of pgx already passes it to [New]. One database holds any
// number of catalogs; see [Options].
package pgstore

// Package etcdstore keeps a catalog in an etcd cluster. Any number of servers may
// serve one catalog. It survives the loss of a minority of the cluster's members, and
// nobody has to do anything then.
//
//	store, err := etcdstore.Open(ctx, clientv3.Config{
//		Endpoints: []string{"https://a:2379", "https://b:2379", "https://c:2379"},
//		TLS:       tlsConfig,
//		Username:  "chat", Password: password,
//	}, nil)
//	if err != nil {
//		return err
//	}
//	catalog, err := customstatus.OpenShared(ctx, store, nil) // closes the store when it is closed
//
// A host that has a client calls [New].
//
// # What is in the cluster
//
// All keys begin with [Options.Prefix]. Each status is one key, "s/" and its id. Each
// name is one, "n/" and the name, with the id as its value: so a name is unique in the
// cluster itself. A commit is one transaction. It also puts the key "revision", whose
// modification revision is the catalog's revision, and the marker of the store, "m/"
// and a random token, on a lease.
//
// # When an answer is lost
//
// A commit without an answer may have been made, may be made later, or never. The store
// asks its marker, which the transaction has put, and in the same step makes sure that
// the transaction can't be made any more. Then it tries again. Only if the cluster can't
// be asked in time, or the marker is gone, does a commit return
// [customstatus.ErrOutcomeUnknown].
//
// # The cluster
//
// The store was tested with etcd 3.7. Older versions than 3.5.8 can report progress to
// a watcher that has not received everything. Clients need these permissions only:
//
//	etcdctl role add chat
//	etcdctl role grant-permission chat --prefix=true readwrite /customstatus/
//	etcdctl user grant-role chat chat
//
// Leases need no permission. The cluster should compact by itself, with
// --auto-compaction-mode=periodic and --auto-compaction-retention=1h for example. A
// watcher that was away for longer than that loads the catalog again. A commit writes a
// few hundred bytes for each change, and the history until the next compaction needs
// room: check --quota-backend-bytes.
//
// # Limits
//
// With etcd's default of 128 operations in a transaction, every commit of 42 changes
// passes. A larger one returns [customstatus.ErrTooLarge], and a catalog divides it. A
// cluster with a greater --max-txn-ops takes more; see [Options.MaxTxnOps]. An id, a
// name, a type and metadata are kept to the byte.
//
// When a newer version of this package has written something that this version doesn't
// know, this version reads what it knows and refuses commits until it is upgraded. So
// two versions can serve one catalog during an upgrade.
package etcdstore

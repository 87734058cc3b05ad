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
// Open makes the tables. A host that has a pool of pgx already passes it to [New].
// One database holds any number of catalogs; see [Options].
//
// # Guarantees
//
// A commit that returned nil is durable as far as the server makes it: the store
// does not accept synchronous_commit = off, but leaves full_page_writes, fsync, and
// whether a commit waits for a standby to the server. With synchronous replication,
// a failover loses nothing, unless an operator has canceled a commit's wait for the
// standby: the server then answers as if the standby had it.
//
// Each commit is one message to the server and one transaction. The server runs it
// when it has the whole message, and needs no more of the client to end it. So a
// client that dies or freezes holds up nobody. Commits to one catalog are made one
// after the other: each locks the catalog's row. A commit waits for the lock for
// [Options.Timeout] at most, and then fails.
//
// A commit whose answer is lost is looked up: it has written a marker of its own in
// the same transaction. If there is none, the store writes the marker, and then the
// commit can't be made any more, even if it arrives later. So the outcome is known,
// unless no connection can be had for [Options.Timeout]: then Commit returns
// [customstatus.ErrOutcomeUnknown], and the next Load, Commit or Revision decides. Markers
// are kept for an hour. A commit that arrives more than half an hour late, by the
// server's clock, is refused.
//
// A commit that can't be made for a cause that passes (a deadlock, a lost connection, a
// server that restarts, a failover, a primary that is read-only) is tried again until
// [Options.Timeout] has passed. After any other error but
// ErrOutcomeUnknown, nothing was written either.
//
// Each commit leaves a random token in the database, by which a store notices that
// the database has gone back to another history: after a failover that lost
// commits, or after a restored backup. Watch then ends with
// [customstatus.ErrCompacted], commits return [customstatus.ErrConflict], Revision
// fails, and the catalog loads again, tells its watchers, and counts it in its
// statistics. Until then, its Sync and its writes can fail. A commit
// is refused in the same way when the last revision that its store knows is no
// longer in the feed, so that there is nothing to compare.
//
// The revisions then go on from the last commit that is left. So a number may be used
// again, for another commit. Somebody who read a status before that, and writes it
// afterwards with [customstatus.WriteOptions].IfRevision, may match a
// status with other content, and overwrite it. A watcher that gets ErrCompacted says
// that what was read before has to be read again. With synchronous replication, no
// failover does this.
//
// # The feed
//
// A table has the commits of late; [Options] say how many. Watchers read what is
// after their revision. LISTEN only wakes them: they also look from time to time,
// and miss nothing when no notification comes, or when the server or a pooler refuses
// LISTEN. Through a pooler in transaction mode, such as PgBouncer, set
// [Options.NoListen].
//
// # Versions side by side
//
// Servers with two adjacent versions of this package can share a catalog. Once the
// newer version has written a record in a format that the older one doesn't know,
// the older one refuses to write and says so. It still reads, and loads the whole
// catalog after each commit that it can't decode.
//
// # Privileges
//
// The role that owns the schema runs [SchemaSQL]; it needs CREATE on the database.
// [GrantSQL] has what the role of a running server needs. Set [Options.NoMigrate]
// there.
//
// # Engines
//
// The tests run on PostgreSQL 15, directly and through PgBouncer 1.18 in transaction
// mode. The functions need PostgreSQL 13 or newer and PL/pgSQL. Other engines that
// speak the protocol, such as CockroachDB, YugabyteDB and Aurora, have not been
// tried. A store needs a primary: it refuses to read from a standby.
package pgstore

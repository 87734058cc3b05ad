// Package cluster lets three catalogs in three processes share one PostgreSQL server
// or one etcd cluster, and makes the connections, the servers and the disks fail
// meanwhile. What the clients are told must be linearizable, watchers must see every
// commit once and in order, and nothing that was acknowledged may be lost.
package cluster

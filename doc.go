// Package customstatus keeps a chat server's catalog of custom user statuses: the
// entries such as "In a meeting" (busy) that an admin defines and users pick from.
//
//	catalog, err := customstatus.OpenFile(ctx, "chat.db", nil)
//	status, err := catalog.Create(ctx, customstatus.Fields{Name: "In a meeting", StatusType: customstatus.Busy})
//	err = catalog.Close()
//
// A status is a [CustomUserStatus]. A [Catalog] holds all statuses and enforces the
// [Rules]; a server works with the catalog. A [Store] keeps the statuses durably:
// [OpenBolt] in a bbolt file, [NewMemoryStore] in memory until it is closed. You can
// write your own; package storetest checks it.
//
// The catalog has a [Revision], and every commit gives it a greater one. The
// revision and a [Fingerprint] of the whole catalog are a [Position]. List a page,
// keep its position, and [Catalog.Watch] yields every later change, none missing. A
// status knows the revision that wrote it, and a write can be conditional on it.
//
// Reads come from an immutable snapshot in memory. They never wait for the disk, the
// network or a writer, and see only what is durable. Writes that arrive while
// another commits share the next commit.
//
// Package httpadapter serves a catalog at the custom-user-status.* endpoints of
// Rocket.Chat's REST API. Package salvage recovers what is intact in a damaged
// bbolt file.
package customstatus

// Package customstatus keeps a chat server's catalog of custom user statuses:
// the entries such as "In a meeting" (busy) that an admin defines and that
// users pick from.
//
//	catalog, err := customstatus.OpenFile(ctx, "chat.db", nil)
//	status, err := catalog.Create(ctx, customstatus.Fields{Name: "In a meeting", StatusType: customstatus.Busy})
//	err = catalog.Close()
//
// There are three nouns. A status is a [CustomUserStatus]. The [Catalog] is all
// of them together with the [Rules] they obey; it is what a server works with.
// A [Store] keeps them durably: [OpenBolt] in a bbolt file, [NewMemoryStore] in
// memory until it is closed, and anyone can write another.
//
// One idea carries them: the catalog has a [Revision], and every commit gives it
// a greater one. Together with a [Fingerprint] of all that the catalog holds it is
// a [Position]. List a page, remember its position, and [Catalog.Watch] yields
// every change that came after it, none missing. A status knows the revision
// that wrote it, and a write can demand that it still be the current one.
//
// Reads are served from memory, from an immutable snapshot: they never wait for
// the disk, the network or a writer, and see only what is durable. Writes that
// arrive while another is being made durable share the next commit.
//
// Package httpadapter puts a catalog behind the custom-user-status.* endpoints
// of Rocket.Chat's REST API. Package salvage saves what is intact in a damaged
// bbolt file. Package storetest checks a store of your own.
package customstatus

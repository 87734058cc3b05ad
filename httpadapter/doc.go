// Package httpadapter serves a [customstatus.Catalog] as the
// custom-user-status.* endpoints of Rocket.Chat's REST API, for clients of
// that server to work unchanged.
//
//	handler := httpadapter.New(catalog, &httpadapter.Options{Authenticator: logins})
//	mux.Handle("/api/v1/", handler)
//
// # Endpoints
//
//	POST custom-user-status.create   {"name","statusType"}
//	POST custom-user-status.update   {"_id","name","statusType"}
//	POST custom-user-status.delete   {"customUserStatusId"}
//	GET  custom-user-status.list     ?name= &_id= &count= &offset= &sort=
//	GET  custom-user-status.stream   ?after=
//
// They are absolute paths under [Options.Prefix], so that a [Handler] mounts
// unchanged in an [http.ServeMux], in another router, or as the whole server.
// Whatever else it is asked for it answers 404 or 405, in JSON too. [OpenAPI]
// describes every answer.
//
// # Authentication
//
// Who a caller is, and whether they may create, update and delete, is the
// host's to say: [Authenticator] is the one thing that [New] needs to be given.
// The Handler takes the two headers X-User-Id and X-Auth-Token from the request
// and refuses one that has not each of them exactly once. [Tokens] is an
// Authenticator for hosts that have no logins of their own. Answers to failed
// logins are slowed down, see [Options.FailedLogins].
//
// # Answers
//
// A request is checked in this order: path, method, authentication, permission,
// the form of the body or query, the rules for the fields, and last what only
// the catalog knows. A body is one JSON object of at most [MaxBody] bytes, read
// strictly: a key that is unknown or given twice is refused, and so are the
// parameters of a query.
//
// Everything that a client did not cause is answered 500 without a word of the
// reason, which goes to [Options.Logger] under the request id that the answer
// has as X-Request-Id. A panic of the Authenticator or a Store is such a case;
// it doesn't get further. After a 500 a write may have been made: list again.
//
// # Lists and their revision
//
// A list is encoded once per revision and query, and served from memory until
// the catalog changes. Its ETag lets a client ask again for nothing. Its header
// X-Catalog-Revision is the revision that it shows.
//
// # The event stream
//
// The endpoint custom-user-status.stream is an addition to Rocket.Chat's: the
// changes of the catalog as server-sent events. An event created, updated or
// deleted has the status as its data. The last event of a commit has the
// revision as its id, so that a client that comes back with Last-Event-ID
// gets whole commits. A client that begins lists first and gives the
// X-Catalog-Revision of the list as the parameter after; each change behind
// it is then sent once, in order. Without either the stream begins with the next
// change. The event reset says that the changes in between are no longer kept:
// list again; the stream goes on from the revision that the event names.
// Revisions belong to a store: a client must not resume with one of a store that
// has since been replaced, by an older backup say.
//
// A stream ends when its client does not read for ten seconds, when its login
// is no longer valid (within a second if there are events, else within
// fifteen), when the catalog is closed, and at [Handler.EndStreams].
//
// # What is left to the host
//
// Timeouts ([http.Server.ReadHeaderTimeout], ReadTimeout, IdleTimeout), the
// limit on headers, TLS, CORS, and the number of connections. A stream outlives
// the server's WriteTimeout, which it replaces by one for each write.
package httpadapter

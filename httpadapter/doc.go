// Package httpadapter serves a [customstatus.Catalog] as the
// custom-user-status.* endpoints of Rocket.Chat's REST API. Clients of that server
// work unchanged.
//
//	api := httpadapter.New(catalog, httpadapter.HeaderAuth(login), nil)
//	err := api.ListenAndServe(ctx, "127.0.0.1:3000", nil)
//
// # Endpoints
//
//	POST custom-user-status.create   {"name","statusType"}
//	POST custom-user-status.update   {"_id","name","statusType"}
//	POST custom-user-status.delete   {"customUserStatusId"}
//	GET  custom-user-status.list     ?name= &_id= &count= &offset= &sort= &query=
//	GET  custom-user-status.stream   ?after= &lastEventId=
//
// They are absolute paths under [Options.Prefix], so that a [Handler] mounts
// unchanged in an [http.ServeMux], in another router, or as the whole server.
// Whatever else it is asked for it answers 404 or 405, in JSON too. Repeated
// slashes in a path count as one, and one at its end as none; a ServeMux in front
// redirects such a path first. [OpenAPI] describes every answer.
//
// # Who may do what
//
// The host says who makes a request, and whether they may create, update and
// delete: see [Authenticator]. [HeaderAuth] reads Rocket.Chat's two headers, and
// package tokenauth has tokens for hosts that have no logins of their own. Package
// loginlimit slows down who fails to log in again and again.
//
// Where a cookie is a login, any page could have a browser write. So a POST without
// the header X-Auth-Token must come from the server's own origin, from one in
// [Options.TrustedOrigins], or from no browser; else it is answered 403. See
// [http.CrossOriginProtection].
//
// # Requests
//
// A request is checked in this order: path, method, origin, authentication,
// permission, the form of the body or query, the rules for the fields, and last
// what only the catalog knows.
//
// A body is one JSON object, or the same keys as
// application/x-www-form-urlencoded, of at most [MaxBodyBytes] bytes. It is read
// strictly: a key that is unknown or given twice is refused, and so are the
// parameters of a query. A key whose value is null counts as absent. A body called
// a form that begins with { is read as JSON, for curl calls it so.
//
// A list has 50 statuses, or as many as count says, up to 100. count=0 is all of
// them, up to [Options.MaxCount]. An empty parameter counts as absent. Of the
// parameter query, a MongoDB filter that old clients send, {"_id":"…"},
// {"name":"…"} and {"name":{"$regex":"…","$options":"i"}} are taken if the
// expression is a literal; any other filter is refused. fields is ignored.
//
// # Answers
//
// Failures of the server are a generic 500. The cause is logged with the request
// id that the answer has as X-Request-Id. A panic of the Authenticator or a Store
// is such a failure, and doesn't get further. After a 500 a write may have been
// made: list again.
//
// Two refusals have no counterpart in Rocket.Chat. With
// [customstatus.Options.MaxStatuses] a create can be answered 400 with errorType
// error-too-many-statuses, and a status that the store can't keep is 400 with
// error-status-too-large.
//
// # Lists and their position
//
// A list is encoded once per position and query, and served from memory until the
// catalog changes. Its ETag lets a client ask again for nothing. Its header
// X-Catalog-Position is the position that it shows, from which a stream misses
// nothing.
//
// # The event stream
//
// The endpoint custom-user-status.stream is an addition to Rocket.Chat's: the
// changes of the catalog as server-sent events, with JSON data.
//
//	ready      {"position":"42-9f3a07c1d2e4b586"}   first, with the field retry
//	created    the status
//	updated    the status
//	deleted    the status as it was last
//	heartbeat  {"position":"…"}                     after 15 seconds without others
//	reset      {"position":"…"}                     list again
//
// The id of an event is the position, on ready, heartbeat, reset, and the last
// event of each commit. A client that comes back with it gets whole commits, each
// change once and in order. It sends the header Last-Event-ID, else the parameter
// lastEventId, else after. Without any of them the stream begins with the next
// change. A position that the catalog can't tell about, or that is none at all,
// is answered by reset. The ready before it has the position that the client came
// with or, if that was none, one that no catalog has, so that a client which is
// cut off in between does not take itself for up to date.
//
// A stream ends when its client does not read for ten seconds, when its login is
// no longer valid, at the age of [Options.MaxStreamTime], when the catalog is
// closed, and at [Handler.EndStreams]. Logins are checked every
// [Options.RecheckLogin] and at [Handler.RecheckLogins].
//
// # Middleware
//
// A stream must flush each event and cut a client that doesn't read. It needs the
// server's [http.ResponseWriter] for both, through [http.ResponseController]. So
// the ResponseWriter of each middleware in front needs the method Unwrap, or Flush
// and SetWriteDeadline of its own. Where one is missing, the stream is answered 500,
// and the log names the type and the method. Lists and writes work all the same.
//
// Streams work behind chi, gin, echo, gorilla/mux, negroni, klauspost/gzhttp,
// otelhttp, promhttp, scs and rs/cors, with the compression that they have. They
// don't work behind [http.TimeoutHandler], NYTimes/gziphandler and fiber's adaptor.
// The module compat tests all of them. The way out is to route the stream around
// such a middleware:
//
//	mux.Handle("/api/v1/", http.TimeoutHandler(api, time.Minute, ""))
//	mux.Handle("/api/v1/custom-user-status.stream", api)
//
// # Limits
//
// [Handler.ListenAndServe] and [Handler.Serve] set limits for all that a client can
// take its time for, and end in order. A host with an [http.Server] of its own
// sets ReadHeaderTimeout, ReadTimeout, IdleTimeout and MaxHeaderBytes, and gives
// EndStreams to RegisterOnShutdown. The Handler itself waits ten seconds for a
// body, and one second for that of a request which it refuses. A stream replaces
// the server's WriteTimeout by one for each write. TLS, CORS and the number of
// connections are the host's.
package httpadapter

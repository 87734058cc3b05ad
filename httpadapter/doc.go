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
//	GET  custom-user-status.openapi.json
//
// The endpoints are absolute paths under [Options.Prefix]. So a [Handler] mounts
// unchanged in an [http.ServeMux], in another router, or as the whole server. Any
// other path is answered 404, and any other method 405, both in JSON. Repeated
// slashes in a path count as one, and a slash at its end counts as none; a ServeMux
// in front redirects such a path first.
//
// The last endpoint needs no login. It serves the document of [OpenAPI], which describes
// every answer, with the prefix at which it was asked for.
//
// # Who may do what
//
// The host's [Authenticator] says who makes a request, and whether that user may
// create, update and delete. [HeaderAuth] reads Rocket.Chat's two headers. Package
// tokenauth has tokens for hosts without logins of their own. Package loginlimit
// slows down clients that fail to log in again and again.
//
// An Authenticator that takes the host's cookie lets a browser's own EventSource
// follow the stream: see the example of [New]. But where a cookie is a login, any
// page could make a browser write. So a POST without the header X-Auth-Token must
// come from the server's own origin, from an origin in [Options.TrustedOrigins], or
// from a client that is no browser. Any other is answered 403. See
// [http.CrossOriginProtection].
//
// # Requests
//
// A request is checked in this order: path, method, origin, authentication,
// permission, the form of the body or query, the rules for the fields, and last
// what only the catalog knows.
//
// A body is one JSON object, or the same keys as
// application/x-www-form-urlencoded, of at most [MaxBodyBytes] bytes. Unknown and
// repeated keys are refused, and so are unknown and repeated parameters of a query.
// A key whose value is null counts as absent. A body that begins with { is read as
// JSON even if its type says form, because curl sends that type.
//
// A list has 50 statuses by default. The parameter count asks for fewer or more, up
// to 100; count=0 asks for all, up to [Options.MaxCount]. An empty parameter counts
// as absent. A list that looks at every status is a search: one with a part of a name,
// a pattern, or an order that is not by name. Each [Caller.UserID] has one search at a
// time, and further ones wait. The parameter query takes a MongoDB filter, as old clients send it:
// {"_id":"…"}, {"name":"…"}, or {"name":{"$regex":"…","$options":"i"}} whose
// expression is a literal. Any other filter is refused. The parameter fields is
// ignored.
//
// # Answers
//
// Failures of the server are a generic 500. The cause is logged under the request id
// that the answer has as X-Request-Id. A panic of the Authenticator or the Store is
// such a failure and goes no further. A write that was answered 500 may have been
// made: list again.
//
// Two refusals have no counterpart in Rocket.Chat. A create beyond
// [customstatus.Options.MaxStatuses] is answered 400 with errorType
// error-too-many-statuses. A status that the store can't keep is answered 400 with
// errorType error-status-too-large.
//
// # Lists and their position
//
// A list is encoded once per position and query, and served from memory until the
// catalog changes. A client that sends the list's ETag back as If-None-Match gets
// 304 until then. The header X-Catalog-Position is the position that the list shows.
// A stream that begins there misses nothing.
//
// # The event stream
//
// The endpoint custom-user-status.stream is an addition to Rocket.Chat's. It sends
// the changes of the catalog as server-sent events with JSON data:
//
//	ready      {"position":"42-9f3a07c1d2e4b586"}   first, with the field retry
//	created    the status
//	updated    the status
//	deleted    the status as it was last
//	heartbeat  {"position":"…"}                     after 15 seconds without others
//	reset      {"position":"…"}                     list again
//
// The events ready, heartbeat and reset, and the last event of each commit, have the
// position as their id. A client that comes back with an id gets whole commits, each
// change once and in order. The id is the header Last-Event-ID, else the parameter
// lastEventId, else the parameter after. Without an id the stream begins with the
// next change.
//
// The stream answers with reset where the catalog can't tell what came after the id,
// or where the id is no position at all. The event ready before that reset has the
// client's own position, or, if the client had none, a position that no catalog has.
// So a client that is cut off between the two events is reset when it comes back.
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
// [Handler.ListenAndServe] and [Handler.Serve] set timeouts for headers, bodies,
// answers and idle connections, and shut down in order. A host with an [http.Server] of its own
// sets ReadHeaderTimeout, ReadTimeout, IdleTimeout and MaxHeaderBytes, and passes
// EndStreams to RegisterOnShutdown.
//
// The Handler itself waits ten seconds for a body, and one second for the body of a
// request that it refuses. A stream replaces the server's WriteTimeout by a timeout
// for each write. TLS, CORS and the number of connections are up to the host.
package httpadapter

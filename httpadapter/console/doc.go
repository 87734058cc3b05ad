// Package console serves an admin page for the catalog of custom user statuses: a
// table with filter and pages, a panel that creates and edits, import and export. What
// somebody else changes shows at once.
//
//	mux.Handle("/api/v1/", api) // an httpadapter.Handler
//	mux.Handle("/admin/statuses/", console.New(&console.Options{Prefix: "/admin/statuses/"}))
//
// The page uses the endpoints and the event stream of package httpadapter, from the
// browser, and nothing else. It has no endpoints and no rights of its own: the
// Authenticator of the endpoints decides what its user may see and do. So the page
// itself is no secret, but a host may mount it behind its own login.
//
// # Who is logged in
//
// A browser's EventSource sends no headers, so the Authenticator must take the host's
// cookie. With an empty [Options.Session], the host logs people in before it shows the
// page. When the endpoints answer 401, the page links to [Options.LoginURL].
//
// With a Session, the page shows who is logged in, and signs people in and out itself.
// That path answers:
//
//	GET     200 {"userId":"…","mayManage":true}, or 401
//	POST    the same, for the body {"userId":"…","authToken":"…"}; sets a cookie
//	DELETE  200 {"success":true}; ends the session
//
// Where mayManage is false, the page changes nothing. With a LoginURL as well, the page
// links there and never sends the POST.
//
// # What browsers are allowed
//
// The page has a Content-Security-Policy that allows the server's own files and answers
// only: no other host, no inline script or style, no frame. A middleware in front must
// not replace that header. The files are served under a name that changes with each of
// their bytes, so browsers keep them for ever, and only the page itself is asked for
// again.
//
// # Limits
//
// The page keeps the whole catalog, which it loads 1,000 statuses at a time. Up to some
// ten thousand statuses, it answers at once. The browser must know light-dark() of CSS
// and popovers: Chromium 123, Firefox 125, Safari 17.5, or newer.
//
// Only new statuses and changes can be imported, by the endpoints: one write for each
// status, with new ids, without metadata. The import of customstatusd keeps ids, times
// and metadata.
package console

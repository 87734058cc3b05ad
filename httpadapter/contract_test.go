package httpadapter_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/httpadapter"
)

var form = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}

// TestForms: a body may be a form with the same keys.
func TestForms(t *testing.T) {
	now := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	written := func(id, name, statusType string) string {
		return `{"customUserStatus":{"_id":"` + id + `","name":"` + name + `","statusType":"` + statusType + `","_updatedAt":"2024-01-01T00:00:00.000Z"},"success":true}`
	}
	ok := func(path, body, want string) row {
		return row{as: manager, path: path, body: body, header: form, status: 200, want: want}
	}
	bad := func(path, body, want string) row {
		return row{as: manager, path: path, body: body, header: form, status: 400, want: want}
	}
	as := func(contentType string, r row) row {
		r.header = http.Header{"Content-Type": {contentType}}
		return r
	}
	id := records[0].ID
	notJSON := invalidParams("Invalid request body: not valid JSON")
	checkRows(t, setup{catalog: customstatus.Options{Now: func() time.Time { return now }, NewID: func() string { return "new" }}}, map[string]row{
		"create":               ok(createPath, "name=in+a%20meeting&statusType=busy", written("new", "in a meeting", "busy")),
		"update":               ok(updatePath, "_id="+id+"&name=a&statusType=away", written(id, "a", "away")),
		"delete":               ok(deletePath, "customUserStatusId="+id, `{"success":true}`),
		"parameters of a type": as("Application/X-WWW-Form-Urlencoded; charset=UTF-8", ok(createPath, "name=a&statusType=busy", written("new", "a", "busy"))),
		"trailing separators":  ok(createPath, "&name=a&&statusType=busy&", written("new", "a", "busy")),
		"percent in a name":    ok(createPath, "name=100%25&statusType=busy", written("new", "100%", "busy")),
		"semicolon":            ok(createPath, "name=a;b&statusType=busy", written("new", "a;b", "busy")),
		// curl --data sends JSON with the type of a form.
		"JSON called a form":             ok(createPath, " \n{\"name\":\"a\",\"statusType\":\"busy\"}", written("new", "a", "busy")),
		"JSON called text":               as("text/plain", ok(createPath, `{"name":"a","statusType":"busy"}`, written("new", "a", "busy"))),
		"the type is broken":             as(";;", ok(createPath, `{"name":"a","statusType":"busy"}`, written("new", "a", "busy"))),
		"nothing":                        bad(createPath, "", required("Name")),
		"name empty":                     bad(createPath, "name=&statusType=busy", required("Name")),
		"no value":                       bad(createPath, "name&statusType=busy", required("Name")),
		"no type":                        bad(createPath, "name=a", required("StatusType")),
		"the text null is a text":        bad(createPath, "name=a&statusType=null", invalid("null", "status type", "StatusType")),
		"no id":                          bad(updatePath, "name=a&statusType=away", required("_id")),
		"no id to delete":                bad(deletePath, "", noStatusID),
		"unknown key":                    bad(createPath, "name=a&statusType=busy&colour=red", invalidParams(`Invalid parameter "colour": unknown`)),
		"key in another case":            bad(createPath, "Name=a", invalidParams(`Invalid parameter "Name": unknown`)),
		"given twice":                    bad(createPath, "name=a&statusType=busy&name=a", invalidParams(`Invalid parameter "name": given twice`)),
		"twice, once escaped":            bad(createPath, "name=a&n%61me=a", invalidParams(`Invalid parameter "name": given twice`)),
		"invalid UTF-8":                  bad(createPath, "name=%ff&statusType=busy", invalidParams(`Invalid parameter "name": not valid in a form`)),
		"invalid UTF-8, as it is":        bad(createPath, "name=\xff&statusType=busy", invalidParams(`Invalid parameter "name": not valid in a form`)),
		"invalid escape":                 bad(createPath, "name=%zz", invalidParams(`Invalid parameter "name": not valid in a form`)),
		"invalid key":                    bad(createPath, "%ff=a", invalidParams(`Invalid parameter "%ff": unknown`)),
		"one byte too large":             {as: manager, path: createPath, body: "name=" + strings.Repeat("a", httpadapter.MaxBodyBytes-4), header: form, status: 413, want: tooLarge},
		"a form that isn't called one":   as("text/plain", bad(createPath, "name=a&statusType=busy", notJSON)),
		"a form that is called JSON":     as("application/json", bad(createPath, "name=a&statusType=busy", notJSON)),
		"a form of several parts":        as("multipart/form-data; boundary=x", bad(createPath, "--x--", notJSON)),
		"permission before the form":     {as: reader, path: createPath, body: "colour=red", header: form, status: 400, want: notAuthorized},
		"JSON that only begins like one": bad(createPath, `{"name":"a"`, notJSON),
	})
}

// TestSlashes: repeated slashes count as one, and a slash at the end counts as none.
func TestSlashes(t *testing.T) {
	s := newServer(t, setup{})
	for _, path := range []string{
		"/api/v1/" + listPath, "//api/v1/" + listPath, "/api//v1/" + listPath, "/api/v1//" + listPath,
		"///api///v1///" + listPath, "/api/v1/" + listPath + "/", "/api/v1/" + listPath + "//", "//api//v1//" + listPath + "/?count=1",
	} {
		r, err := http.NewRequest(http.MethodGet, s.URL+path, nil)
		require.NoError(t, err)
		r.Header.Set("X-User-Id", reader[0])
		r.Header.Set("X-Auth-Token", reader[1])
		require.Equal(t, http.StatusOK, s.send(r).status, path)
	}
	require.Equal(t, http.StatusOK, s.do(request{as: manager, path: "/" + createPath + "/", body: `{"name":"a","statusType":"busy"}`}).status)

	for prefix, path := range map[string]string{"//chat//": "/chat/", "/chat": "/chat/", "//": "/", "/x/.././chat": "/chat/", "/..": "/"} {
		s := newServer(t, setup{adapter: httpadapter.Options{Prefix: prefix}})
		s.prefix = path
		require.Len(t, s.list(""), 2, prefix)
	}
}

// TestCrossOrigin: a page of another origin can't make a browser write, unless the
// request has a header that needs a preflight or the host trusts the origin.
func TestCrossOrigin(t *testing.T) {
	const refused = `{"success":false,"error":"The request comes from another origin [error-cross-origin]","errorType":"error-cross-origin"}`
	cookies := httpadapter.AuthenticatorFunc(func(*http.Request) (httpadapter.Caller, error) {
		return httpadapter.Caller{UserID: "a cookie's", MayManage: true}, nil
	})
	with := setup{auth: cookies, adapter: httpadapter.Options{TrustedOrigins: []string{"https://chat.example.com"}}}
	header := func(pairs ...string) http.Header {
		h := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
		for i := 0; i < len(pairs); i += 2 {
			h.Set(pairs[i], pairs[i+1])
		}
		return h
	}
	create := func(h http.Header, status int, want string) row {
		return row{path: createPath, body: "name=a&statusType=busy", header: h, status: status, want: want}
	}
	const created = `{"customUserStatus":{"_id":"…`
	checkRows(t, with, map[string]row{
		"no browser":                  create(header(), 200, created),
		"same origin":                 create(header("Sec-Fetch-Site", "same-origin", "Origin", "https://x"), 200, created),
		"typed in":                    create(header("Sec-Fetch-Site", "none"), 200, created),
		"another site":                create(header("Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"), 403, refused),
		"another host of the site":    create(header("Sec-Fetch-Site", "same-site", "Origin", "https://www.example.com"), 403, refused),
		"an old browser":              create(header("Origin", "https://evil.example"), 403, refused),
		"no origin to be known":       create(header("Origin", "null"), 403, refused),
		"trusted":                     create(header("Sec-Fetch-Site", "cross-site", "Origin", "https://chat.example.com"), 200, created),
		"trusted, an old browser":     create(header("Origin", "https://chat.example.com"), 200, created),
		"like one that is trusted":    create(header("Origin", "https://chat.example.com.evil.example"), 403, refused),
		"trusted by another scheme":   create(header("Origin", "http://chat.example.com"), 403, refused),
		"with the header":             create(header("Origin", "https://evil.example", "X-Auth-Token", "t"), 200, created),
		"with the other header alone": create(header("Origin", "https://evil.example", "X-User-Id", "u"), 403, refused),
		"update": {path: updatePath, body: `{"_id":"` + records[0].ID + `","name":"a","statusType":"busy"}`,
			header: header("Sec-Fetch-Site", "cross-site", "Content-Type", "text/plain"), status: 403, want: refused},
		"delete": {path: deletePath, body: "customUserStatusId=" + records[0].ID,
			header: header("Sec-Fetch-Site", "cross-site"), status: 403, want: refused},
		"a list changes nothing": {method: "GET", path: listPath, header: header("Sec-Fetch-Site", "cross-site"), status: 200, want: `{"statuses":[…`},
		"method before origin":   {method: "PUT", path: createPath, header: header("Sec-Fetch-Site", "cross-site"), status: 405, want: noMethod},
	})
	t.Run("origin before authentication", func(t *testing.T) {
		s := newServer(t, setup{})
		require.Equal(t, refused, s.do(request{path: createPath, header: header("Sec-Fetch-Site", "cross-site")}).body)
	})
}

// TestMetadata: metadata is on the wire only if the host turns it on.
func TestMetadata(t *testing.T) {
	now := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	catalog := customstatus.Options{Now: func() time.Time { return now }, NewID: func() string { return "new" }}
	with := setup{catalog: catalog, adapter: httpadapter.Options{Metadata: true}}
	status := func(id, name, rest string) string {
		return `{"_id":"` + id + `","name":"` + name + `","statusType":"busy","_updatedAt":"2024-01-01T00:00:00.000Z"` + rest + `}`
	}
	written := func(id, name, rest string) string {
		return `{"customUserStatus":` + status(id, name, rest) + `,"success":true}`
	}
	create := func(rest string, status int, want string) row {
		return row{as: manager, path: createPath, body: `{"name":"a","statusType":"busy"` + rest + `}`, status: status, want: want}
	}
	most := strings.Repeat("m", customstatus.MaxMetadataBytes)
	checkRows(t, with, map[string]row{
		"a string":     create(`,"metadata":"{\"emoji\":\"🏖\"}"`, 200, written("new", "a", `,"metadata":"{\"emoji\":\"🏖\"}"`)),
		"absent":       create(``, 200, written("new", "a", "")),
		"null":         create(`,"metadata":null`, 200, written("new", "a", "")),
		"empty":        create(`,"metadata":""`, 200, written("new", "a", "")),
		"the most":     create(`,"metadata":"`+most+`"`, 200, written("new", "a", `,"metadata":"`+most+`"`)),
		"too much":     create(`,"metadata":"`+most+`m"`, 400, invalid(most[:120], "metadata", "Metadata")),
		"an object":    create(`,"metadata":{}`, 400, invalidParams(`Invalid parameter "metadata": not a string`)),
		"another case": create(`,"Metadata":"x"`, 400, invalidParams(`Invalid parameter "Metadata": unknown`)),
		"in a form":    {as: manager, path: createPath, body: "name=a&statusType=busy&metadata=x%00", header: form, status: 200, want: written("new", "a", `,"metadata":"x\u0000"`)},
	})
	checkRows(t, setup{catalog: catalog}, map[string]row{
		"not told to": create(`,"metadata":"x"`, 400, invalidParams(`Invalid parameter "metadata": unknown`)),
	})

	s := newServer(t, with)
	c := s.open("")
	c.ready()
	create1 := create(`,"metadata":"x"`, 200, "")
	require.Equal(t, http.StatusOK, s.do(request{as: manager, path: createPath, body: create1.body}).status)
	require.Equal(t, "created "+status("new", "a", `,"metadata":"x"`), c.next())
	update := func(rest, left string) {
		t.Helper()
		a := s.do(request{as: manager, path: updatePath, body: `{"_id":"new","name":"a","statusType":"busy"` + rest + `}`})
		require.Equal(t, written("new", "a", left), a.body)
		require.Equal(t, "updated "+status("new", "a", left), c.next())
		require.Contains(t, s.do(request{as: reader, path: listPath + "?_id=new"}).body, `"statuses":[`+status("new", "a", left)+`]`)
	}
	update(``, `,"metadata":"x"`)
	update(`,"metadata":null`, `,"metadata":"x"`)
	update(`,"metadata":"y"`, `,"metadata":"y"`)
	update(`,"metadata":""`, ``)
	bytes := "\xff"
	_, err := s.catalog.Update(t.Context(), "new", customstatus.Fields{Name: "a", StatusType: "busy", Metadata: &bytes}, nil)
	require.NoError(t, err)
	require.Equal(t, "updated "+status("new", "a", `,"metadataBase64":"/w=="`), c.next())

	// Without the option, the host's own writes show no metadata either.
	plain := newServer(t, setup{catalog: catalog})
	c = plain.open("")
	c.ready()
	text := "host's own"
	_, err = plain.catalog.Create(t.Context(), customstatus.Fields{Name: "a", StatusType: "busy", Metadata: &text})
	require.NoError(t, err)
	require.Equal(t, "created "+status("new", "a", ""), c.next())
	require.NotContains(t, plain.do(request{as: reader, path: listPath}).body, "host's")
	a := plain.do(request{as: manager, path: updatePath, body: `{"_id":"new","name":"b","statusType":"busy"}`})
	require.Equal(t, written("new", "b", ""), a.body)
	kept, err := plain.catalog.Get("new")
	require.NoError(t, err)
	require.Equal(t, text, kept.Metadata)
}

// TestETagTellsRepresentationsApart: a client keeps its tag while the server restarts
// with other options.
func TestETagTellsRepresentationsApart(t *testing.T) {
	seen := make(map[string]httpadapter.Options)
	for _, opts := range []httpadapter.Options{{}, {Metadata: true}, {MaxCount: 7}, {Metadata: true, MaxCount: 7}, {MaxCount: 70}} {
		a := newServer(t, setup{adapter: opts}).do(request{as: reader, path: listPath})
		require.NotContains(t, seen, a.header.Get("ETag"))
		seen[a.header.Get("ETag")] = opts
	}
	a := newServer(t, setup{adapter: httpadapter.Options{MaxCount: httpadapter.DefaultMaxCount}}).do(request{as: reader, path: listPath})
	require.Contains(t, seen, a.header.Get("ETag"))
}

// TestETagStaysWithThePosition: a commit without changes moves neither the position
// nor the ETag.
func TestETagStaysWithThePosition(t *testing.T) {
	s := newServer(t, setup{})
	get := func(query string) string {
		return s.do(request{as: reader, path: listPath + query}).header.Get("ETag")
	}
	before := get("")
	require.Equal(t, before, get("?count=1"), "a tag belongs to its URL")
	_, err := s.catalog.Import(t.Context(), records) // nothing new
	require.NoError(t, err)
	require.Equal(t, before, get(""))
	made, err := s.catalog.Create(t.Context(), customstatus.Fields{Name: "a", StatusType: "busy"})
	require.NoError(t, err)
	require.NotEqual(t, before, get(""))
	_, err = s.catalog.Delete(t.Context(), made.ID, nil)
	require.NoError(t, err)
	require.NotEqual(t, before, get(""), "the same content at another revision")
}

// TestMaxCount: the option bounds a list with count=0, and no other list.
func TestMaxCount(t *testing.T) {
	s := newServerWith(t, many(1200))
	require.Len(t, s.list("count=0"), 1000)
	require.Len(t, s.list("count=0&offset=400"), 800)
	require.Len(t, s.list("count=1200"), 100)
	require.Len(t, s.list(""), 50)
	few := newServer(t, setup{adapter: httpadapter.Options{MaxCount: 1}})
	require.Len(t, few.list("count=0"), 1)
	require.Len(t, few.list("count=2"), 2)
}

// TestTooMuch: the client is told that the catalog is full or the store can't keep the
// status.
func TestTooMuch(t *testing.T) {
	full := `{"success":false,"error":"There are too many custom user statuses [error-too-many-statuses]","errorType":"error-too-many-statuses","details":{"method":"insertOrUpdateUserStatus"}}`
	checkRows(t, setupFor("TooManyStatuses"), map[string]row{
		"create": {as: manager, path: createPath, body: `{"name":"a","statusType":"busy"}`, status: 400, want: full},
		"update": {as: manager, path: updatePath, body: `{"_id":"` + records[0].ID + `","name":"a","statusType":"busy"}`, status: 200, want: `{"customUserStatus":…`},
		"delete": {as: manager, path: deletePath, body: `{"customUserStatusId":"` + records[0].ID + `"}`, status: 200, want: `{"success":true}`},
	})
	for path, body := range map[string]string{
		createPath: `{"name":"a","statusType":"busy"}`,
		updatePath: `{"_id":"` + records[0].ID + `","name":"a","statusType":"busy"}`,
		deletePath: `{"customUserStatusId":"` + records[0].ID + `"}`,
	} {
		method := "insertOrUpdateUserStatus"
		if path == deletePath {
			method = "deleteCustomUserStatus"
		}
		s := newServer(t, setupFor("StatusTooLarge"))
		a := s.do(request{as: manager, path: path, body: body})
		require.Equal(t, `{"success":false,"error":"The custom user status is too large to be stored [error-status-too-large]","errorType":"error-status-too-large","details":{"method":"`+method+`"}}`, a.body)
	}
}

// TestFilters sends the query parameter of old clients.
func TestFilters(t *testing.T) {
	s := newServer(t, setup{empty: true})
	names := []string{"a.b", "aXb", "A.B", "straße", "STRASSE", "on (call)", "On (Call)", "100$", "é-é", "É-É", `back\slash`, "x", "xx"}
	statuses := make([]customstatus.CustomUserStatus, len(names))
	for i, name := range names {
		statuses[i] = customstatus.CustomUserStatus{ID: "id of " + name, Name: name, StatusType: "busy"}
	}
	_, err := s.catalog.Import(t.Context(), statuses)
	require.NoError(t, err)
	for query, want := range map[string][]string{
		`{"_id":"id of x"}`:                                        {"x"},
		`{"_id":"ID OF X"}`:                                        {},
		`{"_id":""}`:                                               {},
		`{"name":"x"}`:                                             {"x"},
		`{"name":"X"}`:                                             {},
		`{"name":""}`:                                              {},
		`{"_id":"id of x","name":"x"}`:                             {"x"},
		`{"_id":"id of x","name":"xx"}`:                            {},
		`{"name":{"$regex":"x","$options":"i"}}`:                   {"aXb", "x", "xx"},
		`{"name":{"$options":"i","$regex":"x"}}`:                   {"aXb", "x", "xx"},
		`{"name":{"$regex":"x"}}`:                                  {"x", "xx"},
		`{"name":{"$regex":"x","$options":""}}`:                    {"x", "xx"},
		`{"name":{"$regex":"x","$options":"imsu"}}`:                {"aXb", "x", "xx"},
		`{"name":{"$regex":"^x","$options":"i"}}`:                  {"x", "xx"},
		`{"name":{"$regex":"^X$","$options":"i"}}`:                 {"x"},
		`{"name":{"$regex":"^x$"}}`:                                {"x"},
		`{"name":{"$regex":"^X$"}}`:                                {},
		`{"name":{"$regex":"^X"}}`:                                 {},
		`{"name":{"$regex":"b$"}}`:                                 {"a.b", "aXb"},
		`{"name":{"$regex":"b$","$options":"i"}}`:                  {"A.B", "a.b", "aXb"},
		`{"name":{"$regex":"^xxx$","$options":"i"}}`:               {},
		`{"name":{"$regex":"a\\.b"}}`:                              {"a.b"},
		`{"name":{"$regex":"a\\.b","$options":"i"}}`:               {"A.B", "a.b"},
		`{"name":{"$regex":"on \\(call\\)","$options":"i"}}`:       {"On (Call)", "on (call)"},
		`{"name":{"$regex":"100\\$"}}`:                             {"100$"},
		`{"name":{"$regex":"100\\$$"}}`:                            {"100$"},
		`{"name":{"$regex":"^\\$"}}`:                               {},
		`{"name":{"$regex":"back\\\\slash"}}`:                      {`back\slash`},
		`{"name":{"$regex":"é\\x2dé"}}`:                            {"é-é"},
		`{"name":{"$regex":"é\\-é","$options":"i"}}`:               {"É-É", "é-é"},
		`{"name":{"$regex":"^É","$options":"i"}}`:                  {"É-É", "é-é"},
		`{"name":{"$regex":"STRASSE$","$options":"i"}}`:            {"STRASSE"},
		`{"_id":"id of aXb","name":{"$regex":"x"}}`:                {},
		`{"_id":"id of aXb","name":{"$regex":"x","$options":"i"}}`: {"aXb"},
	} {
		require.Equal(t, want, s.list("query="+url.QueryEscape(query)), query)
		other := s.list("query=" + url.QueryEscape(query) + "&name=X") // the filter and the parameter must both match
		require.Subset(t, want, other)
		for _, name := range want {
			require.Equal(t, strings.ContainsAny(name, "xX"), slices.Contains(other, name), query)
		}
	}
	all := len(names)
	for _, query := range []string{``, `{}`, ` { } `, `{"name":{"$regex":"","$options":"i"}}`, `{"name":{"$regex":"^"}}`, `{"name":{"$regex":"$"}}`} {
		require.Len(t, s.list("query="+url.QueryEscape(query)), all, query)
	}
	require.Equal(t, []string{"xx"}, s.list("query="+url.QueryEscape(`{"name":{"$regex":"x$"}}`)+"&offset=1"))

	refused := invalidQuery(`Invalid parameter "query": not one of the filters that are known`)
	for _, query := range []string{
		`{"name":{"$regex":"a.b"}}`, `{"name":{"$regex":"a*"}}`, `{"name":{"$regex":"a+"}}`, `{"name":{"$regex":"a?"}}`,
		`{"name":{"$regex":"(a)"}}`, `{"name":{"$regex":"[ab]"}}`, `{"name":{"$regex":"a|b"}}`, `{"name":{"$regex":"a{2}"}}`,
		`{"name":{"$regex":"a^"}}`, `{"name":{"$regex":"a$b"}}`, `{"name":{"$regex":"^^a"}}`, `{"name":{"$regex":"a$$"}}`,
		`{"name":{"$regex":"\\d"}}`, `{"name":{"$regex":"\\bx"}}`, `{"name":{"$regex":"\\1"}}`, `{"name":{"$regex":"\\"}}`,
		`{"name":{"$regex":"\\x4"}}`, `{"name":{"$regex":"\\xzz"}}`, `{"name":{"$regex":"\\xff"}}`, `{"name":{"$regex":"\\é"}}`,
		`{"name":{"$regex":"x","$options":"x"}}`, `{"name":{"$regex":"x","$options":"g"}}`, `{"name":{"$regex":"x","$options":1}}`,
		`{"name":{"$options":"i"}}`, `{"name":{}}`, `{"name":{"$regex":1}}`, `{"name":{"$ne":"x"}}`, `{"name":{"$regex":"x","$ne":"x"}}`,
		`{"name":null}`, `{"name":1}`, `{"name":["x"]}`, `{"_id":null}`, `{"_id":{"$in":["x"]}}`, `{"_id":{"$regex":"x"}}`,
		`{"statusType":"busy"}`, `{"$or":[{"name":"x"}]}`, `{"Name":"x"}`, `{"name":"x","name":"x"}`, `{"_id":"x","colour":"red"}`,
		`[]`, `null`, `"x"`, `x`, `{`, `{"_id":"x"}{}`, `{"name":"\ud83d"}`,
	} {
		a := s.do(request{as: reader, path: listPath + "?query=" + url.QueryEscape(query)})
		require.Equal(t, refused, a.body, query)
	}
	require.Equal(t, invalidQuery(`Invalid parameter "query": given twice`), s.do(request{as: reader, path: listPath + "?query={}&query={}"}).body)
}

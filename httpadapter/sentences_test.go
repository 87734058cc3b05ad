package httpadapter_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/httpadapter"
)

// TestContract has a line for each sentence of the wire contract that one request can
// show. The tests of forms, filters, lists, streams, logins and origins show the rest.
func TestContract(t *testing.T) {
	const nameInUse = `{"success":false,"error":"The custom user status name is already in use [Custom_User_Status_Error_Name_Already_In_Use]","errorType":"Custom_User_Status_Error_Name_Already_In_Use","details":{"method":"insertOrUpdateUserStatus"}}`
	const invalidUserStatus = `{"success":false,"error":"Invalid user status [Custom_User_Status_Error_Invalid_User_Status]","errorType":"Custom_User_Status_Error_Invalid_User_Status","details":{"method":"deleteCustomUserStatus"}}`
	const first, second = `{"_id":"65462e97a2f73c7460e18f84","name":"caught up","statusType":"online","_updatedAt":"2023-11-01T08:00:00.800Z"}`,
		`{"_id":"fHqV6iJ9Tz2b7LmEw","name":"on the phone","statusType":"busy","_updatedAt":"2020-02-29T23:59:59.000Z"}`
	page := func(offset, total int, statuses ...string) string {
		return fmt.Sprintf(`{"statuses":[%s],"count":%d,"offset":%d,"total":%d,"success":true}`, strings.Join(statuses, ","), len(statuses), offset, total)
	}
	create := func(as [2]string, body string, status int, want string) row {
		return row{as: as, path: createPath, body: body, status: status, want: want}
	}
	update := func(body string, status int, want string) row {
		return row{as: manager, path: updatePath, body: body, status: status, want: want}
	}
	remove := func(body string, status int, want string) row {
		return row{as: manager, path: deletePath, body: body, status: status, want: want}
	}
	list := func(query string, status int, want string) row {
		return row{as: reader, method: "GET", path: listPath + "?" + query, status: status, want: want}
	}
	notNumber := func(name string) string {
		return invalidQuery(`Invalid parameter "` + name + `": not a number from 0`)
	}
	id := records[0].ID
	long := strings.Repeat("n", customstatus.MaxNameCharacters)

	checkRows(t, setup{}, map[string]row{
		// All endpoints
		"Missing: 401 and the union of the two documented bodies": create(nobody, `{}`, 401, unauthorized),
		"or wrong": create([2]string{manager[0], "wrong"}, `{}`, 401, unauthorized),
		"without the permission manage-user-status, on create": create(reader, `{}`, 400, notAuthorized),
		"on update":                  {as: reader, path: updatePath, body: `{}`, status: 400, want: notAuthorized},
		"and delete":                 {as: reader, path: deletePath, body: `{}`, status: 400, want: notAuthorized},
		"Listing needs only a login": list("", 200, page(0, 2, first, second)),
		"Body: one JSON object":      create(manager, `{"name":"a","statusType":"busy"}`, 200, `{"customUserStatus":{"_id":"…`),
		"or the same keys as application/x-www-form-urlencoded": {as: manager, path: createPath, body: "name=a&statusType=busy", header: form, status: 200, want: `{"customUserStatus":{"_id":"…`},
		"at most 64 KiB": create(manager, `{"name":"a","statusType":"busy"}`+strings.Repeat(" ", 64<<10-32), 200, `{"customUserStatus":{"_id":"…`),
		"413 beyond":     create(manager, `{"name":"a","statusType":"busy"}`+strings.Repeat(" ", 64<<10-31), 413, tooLarge),
		"Not JSON: 400 with errorType invalid-params": create(manager, `name`, 400, invalidParams("Invalid request body: not valid JSON")),
		"not an object":                        create(manager, `[]`, 400, invalidParams("Invalid request body: not a JSON object")),
		"a wrong type":                         create(manager, `{"name":7}`, 400, invalidParams(`Invalid parameter "name": not a string`)),
		"an unknown key":                       create(manager, `{"colour":"red"}`, 400, invalidParams(`Invalid parameter "colour": unknown`)),
		"invalid UTF-8":                        create(manager, "{\"name\":\"\xff\"}", 400, invalidParams(`Invalid parameter "name": invalid UTF-8`)),
		"or trailing data":                     create(manager, `{}{}`, 400, invalidParams("Invalid request body: data behind the JSON value")),
		"null is as if the key were not there": create(manager, `{"name":"a","statusType":null}`, 400, required("StatusType")),
		"the field's own error follows, never one about the type": update(`{"_id":null,"name":null}`, 400, required("_id")),
		"also in a delete":                                             remove(`{"customUserStatusId":null}`, 400, noStatusID),
		"Keys are case-sensitive":                                      create(manager, `{"Name":"a"}`, 400, invalidParams(`Invalid parameter "Name": unknown`)),
		"A key given twice is refused like an unknown one":             create(manager, `{"name":"a","name":"a"}`, 400, invalidParams(`Invalid parameter "name": key given twice`)),
		"Repeated slashes in a path count as one, one at its end none": {as: reader, method: "GET", path: "//" + listPath + "/", status: 200, want: page(0, 2, first, second)},
		"Unknown path under the mount: 404":                            {as: manager, path: "custom-user-status.rename", status: 404, want: noEndpoint},
		"Wrong method: 405":                                            {as: manager, method: "GET", path: createPath, status: 405, want: noMethod},

		// Rules
		"name missing":                     create(manager, `{"statusType":"busy"}`, 400, required("Name")),
		"name empty":                       create(manager, `{"name":"","statusType":"busy"}`, 400, required("Name")),
		"or only white space":              create(manager, `{"name":" \t","statusType":"busy"}`, 400, required("Name")),
		"name has one of > < & \" '":       create(manager, `{"name":"R&D","statusType":"busy"}`, 400, invalid("R&D", "name", "Name")),
		"a control character":              create(manager, `{"name":"a\u0007","statusType":"busy"}`, 400, invalid(`a\u0007`, "name", "Name")),
		"or more than 120 characters, cut": create(manager, `{"name":"`+long+`x","statusType":"busy"}`, 400, invalid(long, "name", "Name")),
		"120 are taken":                    create(manager, `{"name":"`+long+`","statusType":"busy"}`, 200, `{"customUserStatus":{"_id":"…`),
		"statusType missing":               create(manager, `{"name":"a"}`, 400, required("StatusType")),
		"statusType empty":                 create(manager, `{"name":"a","statusType":""}`, 400, required("StatusType")),
		"statusType case-sensitive":        create(manager, `{"name":"a","statusType":"Offline"}`, 400, invalid("Offline", "status type", "StatusType")),
		"name of another status":           create(manager, `{"name":"on the phone","statusType":"busy"}`, 400, nameInUse),
		"Names are compared exactly":       create(manager, `{"name":"On the phone","statusType":"busy"}`, 200, `{"customUserStatus":{"_id":"…`),
		"may be renamed to its own name":   update(`{"_id":"`+id+`","name":"caught up","statusType":"away"}`, 200, `{"customUserStatus":{"_id":"`+id+`","name":"caught up","statusType":"away",…`),
		"but not to that of another":       update(`{"_id":"`+id+`","name":"on the phone","statusType":"away"}`, 400, nameInUse),
		"_id missing":                      update(`{"name":"a","statusType":"busy"}`, 400, required("_id")),
		"Unknown: these two keys alone":    update(`{"_id":"SeZHHb77QXWRbnDh","name":"a","statusType":"busy"}`, 400, `{"success":false,"error":"No custom user status found with the id of \"SeZHHb77QXWRbnDh\"."}`),
		"delete":                           remove(`{"customUserStatusId":"`+id+`"}`, 200, `{"success":true}`),
		"delete, missing":                  remove(`{}`, 400, noStatusID),
		"delete, unknown":                  remove(`{"customUserStatusId":"none"}`, 400, invalidUserStatus),

		// List
		"name is a case-insensitive substring":       list("name=THE", 200, page(0, 1, second)),
		"never a pattern":                            list("name=t.e", 200, page(0, 0)),
		"_id an exact match":                         list("_id="+id, 200, page(0, 1, first)),
		"count":                                      list("count=1", 200, page(0, 2, first)),
		"0 means all of them":                        list("count=0", 200, page(0, 2, first, second)),
		"offset from 0":                              list("offset=1", 200, page(1, 2, second)),
		"empty is absent":                            list("name=&_id=&count=&offset=&sort=&query=", 200, page(0, 2, first, second)),
		"sort a JSON object":                         list(`sort={%22name%22:-1}`, 200, page(0, 2, second, first)),
		"keys in the order given":                    list(`sort={%22_updatedAt%22:1,%22name%22:1}`, 200, page(0, 2, second, first)),
		"A bad sort":                                 list(`sort=name`, 400, `{"success":false,"error":"Invalid sort parameter provided: \"name\" [error-invalid-sort]","errorType":"error-invalid-sort"}`),
		"A bad count: error-invalid-params":          list("count=many", 400, notNumber("count")),
		"or negative count":                          list("count=-1", 400, notNumber("count")),
		"or negative offset":                         list("offset=-1", 400, notNumber("offset")),
		"an unknown parameter":                       list("limit=1", 400, invalidQuery(`Invalid parameter "limit": unknown`)),
		"or repeated parameter":                      list("count=1&count=1", 400, invalidQuery(`Invalid parameter "count": given twice`)),
		"total is the number of matches":             list("count=1&name=t", 200, page(0, 2, first)),
		"fields is ignored":                          list("fields={%22name%22:1}", 200, page(0, 2, first, second)),
		"query, _id":                                 list("query={%22_id%22:%22"+records[1].ID+"%22}", 200, page(0, 1, second)),
		"query, name, exact":                         list("query={%22name%22:%22on%20the%20phone%22}", 200, page(0, 1, second)),
		"query, $regex":                              list("query={%22name%22:{%22$regex%22:%22PHONE%22,%22$options%22:%22i%22}}", 200, page(0, 1, second)),
		"query, {} is nothing":                       list("query={}", 200, page(0, 2, first, second)),
		"query, any other is 400":                    list("query={%22statusType%22:%22busy%22}", 400, invalidQuery(`Invalid parameter "query": not one of the filters that are known`)),
		"If-None-Match gets 304 with no body":        {as: reader, method: "GET", path: listPath, header: http.Header{"If-None-Match": {"*"}}, status: 304},
		"a cross-origin POST without a header: 403":  {path: createPath, body: "name=a", header: http.Header{"Origin": {"https://evil.example"}}, status: 403, want: `{"success":false,"error":"The request comes from another origin [error-cross-origin]","errorType":"error-cross-origin"}`},
		"the stream refuses unknown parameters":      {as: reader, method: "GET", path: streamPath + "?after=7&since=8", status: 400, want: invalidQuery(`Invalid parameter "since": unknown`)},
		"ids of another form are compared as opaque": list("_id=%22%27", 200, page(0, 0)),
	})

	t.Run("count is capped at 100, defaults to 50, and 0 is up to 1,000", func(t *testing.T) {
		s := newServerWith(t, many(1001))
		require.Len(t, s.list("count=101"), 100)
		require.Len(t, s.list(""), 50)
		require.Len(t, s.list("count=0"), 1000)
	})
	t.Run("application/json exactly, also where it fails", func(t *testing.T) {
		s := newServer(t, setup{}) // each call of do checks it
		for _, req := range []request{
			{as: reader, path: listPath}, {path: listPath}, {as: manager, path: "none"}, {as: manager, method: "PUT", path: listPath},
			{as: manager, path: createPath, body: strings.Repeat(" ", httpadapter.MaxBodyBytes+1)}, {as: broken, path: listPath},
		} {
			require.Equal(t, []string{"application/json"}, s.do(req).header["Content-Type"])
		}
	})
}

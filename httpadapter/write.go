package httpadapter

import (
	"net/http"

	"github.com/customstatus/customstatus"
)

// create, update and delete decode the body, call the catalog and encode the answer.

func (x *exchange) create() error {
	var name, statusType, metadata optional
	if err := x.decode(x.fields(&name, &statusType, &metadata)...); err != nil {
		return err
	}
	status, err := x.catalog.Create(x.r.Context(), fieldsOf(name, statusType, metadata))
	if err != nil {
		return err
	}
	x.onWrite(x.r, status)
	x.answerStatus(status)
	return nil
}

func (x *exchange) update() error {
	var id, name, statusType, metadata optional
	if err := x.decode(append(x.fields(&name, &statusType, &metadata), param{"_id", &id})...); err != nil {
		return err
	}
	// With StatusTypeOptional, an update without a type keeps the type, as a
	// running Rocket.Chat does. Else the type is required.
	keep := x.catalog.Rules().StatusTypeOptional && !statusType.given
	status, err := x.catalog.Update(x.r.Context(), id.value, fieldsOf(name, statusType, metadata),
		&customstatus.WriteOptions{KeepStatusType: keep})
	if err != nil {
		return err
	}
	x.onWrite(x.r, status)
	x.answerStatus(status)
	return nil
}

func (x *exchange) delete() error {
	var id optional
	if err := x.decode(param{"customUserStatusId", &id}); err != nil {
		return err
	}
	if id.value == "" {
		return errNoStatusID
	}
	status, _ := x.catalog.Get(id.value) // what it doesn't find, Delete may still find in a shared store
	status.ID = id.value
	if _, err := x.catalog.Delete(x.r.Context(), id.value, nil); err != nil {
		return err
	}
	x.onWrite(x.r, status)
	x.answer(http.StatusOK, []byte(`{"success":true}`))
	return nil
}

// fields returns the keys that the bodies of create and update have in common.
func (x *exchange) fields(name, statusType, metadata *optional) []param {
	params := []param{{"name", name}, {"statusType", statusType}}
	if x.metadata {
		params = append(params, param{"metadata", metadata})
	}
	return params
}

func fieldsOf(name, statusType, metadata optional) customstatus.Fields {
	f := customstatus.Fields{Name: name.value, StatusType: customstatus.StatusType(statusType.value)}
	if metadata.given {
		f.Metadata = &metadata.value
	}
	return f
}

func (x *exchange) answerStatus(s customstatus.CustomUserStatus) {
	b := append(make([]byte, 0, 256), `{"customUserStatus":`...)
	b = x.appendStatus(b, s)
	x.answer(http.StatusOK, append(b, `,"success":true}`...))
}

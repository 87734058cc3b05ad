package contestant

import (
	"encoding/json"
	"time"

	"github.com/customstatus/customstatus"
)

// record is a status in the rivals that store bytes. The status's id is the key. The time
// is a number of milliseconds, which decodes faster than text.
type record struct {
	Name       string                  `json:"name"`
	StatusType customstatus.StatusType `json:"statusType"`
	UpdatedAt  int64                   `json:"updatedAt"`
}

func newRecord(s customstatus.CustomUserStatus) record {
	return record{Name: s.Name, StatusType: s.StatusType, UpdatedAt: s.UpdatedAt.UnixMilli()}
}

func (r record) status(id string) customstatus.CustomUserStatus {
	return customstatus.CustomUserStatus{
		ID: id, Name: r.Name, StatusType: r.StatusType,
		UpdatedAt: time.UnixMilli(r.UpdatedAt).UTC(),
	}
}

func encode(s customstatus.CustomUserStatus) ([]byte, error) { return json.Marshal(newRecord(s)) }

func decode(id string, data []byte) (customstatus.CustomUserStatus, error) {
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return customstatus.CustomUserStatus{}, err
	}
	return r.status(id), nil
}

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/millstream-go/millstream/serde"
)

// IDs are the identifiers of a customer that one message carries. An empty one is not known.
type IDs struct {
	Phone    string `json:"phone"`
	IDCard   string `json:"idCard"`
	DeviceID string `json:"deviceId"`
}

// complete says that nothing is missing.
func (v IDs) complete() bool { return v.Phone != "" && v.IDCard != "" && v.DeviceID != "" }

var errNoObject = errors.New("the message is not a JSON object")

// idsSerde reads any JSON object: fields of other names do not matter, and an identifier that is
// missing or no string is empty. encoding/json alone would take "PHONE" for phone, and refuse a
// number.
var idsSerde = serde.Func(
	func(dst []byte, v IDs) ([]byte, error) {
		b, err := json.Marshal(v)
		return append(dst, b...), err
	},
	func(b []byte) (IDs, error) {
		if b = bytes.TrimSpace(b); len(b) == 0 || b[0] != '{' {
			return IDs{}, errNoObject
		}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(b, &fields); err != nil {
			return IDs{}, fmt.Errorf("%w: %w", errNoObject, err)
		}
		return IDs{Phone: text(fields["phone"]), IDCard: text(fields["idCard"]), DeviceID: text(fields["deviceId"])}, nil
	})

// text is the string that raw is, empty when it is something else.
func text(raw json.RawMessage) string {
	var s *string
	if json.Unmarshal(raw, &s) != nil || s == nil {
		return ""
	}
	return *s
}

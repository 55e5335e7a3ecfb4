// SPDX-License-Identifier: Apache-2.0

package codec

import (
	"encoding/json"
	"fmt"
)

// JSON reads a value that was stored as JSON, of at most so many octets, with a member
// "version" that must be this one. What else v must be is for the caller to check.
func JSON[T any](b []byte, most, version int, v *T) error {
	if len(b) > most {
		return fmt.Errorf("%d octets, at most %d", len(b), most)
	}
	var form struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(b, &form); err != nil {
		return err
	}
	if form.Version != version {
		return fmt.Errorf("version %d, this program reads %d", form.Version, version)
	}
	return json.Unmarshal(b, v)
}

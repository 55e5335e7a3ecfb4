// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"testing"

	"github.com/seguemta/segue/mta/rfc5321"
)

// TestAddressKey holds that the key of an address that a record holds is that of
// the address, whether it has to be taken apart or not.
func TestAddressKey(t *testing.T) {
	for _, text := range []string{
		"a@example.com", "a.b+c_d-9@mail.example.com", "Ann@example.com", `"a b"@example.com`, `"a..b"@example.com`, "o'neill@example.com", "jörg@example.com", "ÄNN@example.com",
	} {
		a, err := rfc5321.ParseAddress(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := addressKey(a.String()); got != a.Key() {
			t.Errorf("the key of %s is %q, want %q", a, got, a.Key())
		}
	}
	if got := addressKey(""); got != "" {
		t.Errorf("the key of a visitor is %q", got)
	}
}

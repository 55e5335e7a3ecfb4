// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"errors"
	"strings"
	"testing"

	"github.com/seguemta/segue/mta/rfc5321"
)

// Two fields that contradict each other must not be settled by their order: the
// second may be one that a user of the application slipped in.
func TestAFieldOfOursStandsOnce(t *testing.T) {
	d := newDesk(t)
	err := d.admit("X-Segue-Stream: marketing\r\nX-SEGUE-stream: transactional\r\n"+plain, "ann")
	if err == nil || !strings.Contains(err.Error(), "stands twice") {
		t.Errorf("two streams: %v", err)
	}
	if err := d.admit("X-Segue-Ref: x\r\nX-Segue-Ref: y\r\n"+plain, "ann"); err != nil {
		t.Errorf("a message that came round twice: %v", err)
	}
}

func TestSecretRecipientsOfAResentMessageGoToo(t *testing.T) {
	d := newDesk(t)
	if err := d.admit("Resent-Bcc: secret@dest.example\r\n"+plain, "ann"); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(d.got.Body), "secret") {
		t.Errorf("%s", d.got.Body)
	}
}

// Six million fields of four octets fit into 25 MB and are ten times as much in memory.
func TestAHeaderHasABound(t *testing.T) {
	d := newDesk(t)
	if err := d.admit(strings.Repeat("a:\r\n", maxHeader/4)+plain, "ann"); err == nil {
		t.Error("a header of a megabyte was taken")
	}
	if err := d.admit(plain+strings.Repeat("a:\r\n", maxHeader/4), "ann"); err != nil {
		t.Errorf("a large body: %v", err)
	}
}

func TestARecipientNamedTwiceGetsOneMessage(t *testing.T) {
	d := newDesk(t)
	if err := d.admit(plain, "ann", "bob", "ANN", "ann"); err != nil {
		t.Fatal(err)
	}
	if n := len(d.got.Recipients); n != 2 {
		t.Errorf("%d recipients", n)
	}
}

func TestAMessageThatGoesInCirclesIsRefused(t *testing.T) {
	d := newDesk(t)
	hop := "Received: from a by b with ESMTP; Mon, 23 Nov 2026 09:00:00 +0000\r\n"
	if err := d.admit(strings.Repeat(hop, MaxHops)+plain, "ann"); err != nil {
		t.Errorf("a hundred hops: %v", err)
	}
	err := d.admit(strings.Repeat(hop, MaxHops+1)+plain, "ann")
	if r, ok := errors.AsType[*rfc5321.Refusal](err); !ok || r.Reply.Code != 554 || r.Reply.Enhanced != (rfc5321.EnhancedCode{5, 4, 6}) {
		t.Errorf("a hundred and one: %v", err)
	}
}

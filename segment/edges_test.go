// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/mta/kv"
	"github.com/seguemta/segue/segment/store"
)

// oldStore makes a store as an older Segue left it: contacts of layout 1, each
// with one account and nothing that leads back from it.
func oldStore(t *testing.T, fs vfs.FS, contacts int) {
	t.Helper()
	d := open(t, testOptions(t, fs))
	b := d.store.Batch()
	b.Account(1, &store.Account{Name: "Acme"})
	b.AccountByName("acme", 1)
	b.Accounts(2)
	b.Contacts(uint64(contacts + 1))
	for id := uint64(1); id <= uint64(contacts); id++ {
		key := fmt.Sprintf("u%d@example.com", id)
		b.State(id, &store.State{Address: store.AddressSum(key)})
		b.ByAddress(key, id)
	}
	d.write.contacts.next, d.write.accounts.next = uint64(contacts+1), 2
	if err := errors.Join(b.Commit(), d.Close()); err != nil {
		t.Fatal(err)
	}
	raw, err := kv.Open(kv.Options{Dir: "contacts", FS: fs, Format: "segue contacts", Version: 1})
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Pebble().Delete([]byte("mnumbered"), pebble.Sync)
	for id := uint64(1); id <= uint64(contacts); id++ {
		address := fmt.Sprintf("u%d@example.com", id)
		v := append([]byte{1, byte(len(address))}, address...)
		v = append(v, 0, byte(id%2), 0, 0, 0, 0, 0) // user, account, batch, zone, created, consent, attributes
		err = errors.Join(err, raw.Pebble().Set(binary.BigEndian.AppendUint64([]byte("c"), id), v, pebble.Sync))
	}
	if err := errors.Join(err, raw.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestEdgesOfAnOlderStore holds that the accounts of contacts that an older Segue
// wrote get their edge ids and the way back, once.
func TestEdgesOfAnOlderStore(t *testing.T) {
	fs := vfs.NewMem()
	const contacts = importBatch*2 + 7
	oldStore(t, fs, contacts)
	d := open(t, testOptions(t, fs))
	checkEdges(t, d)
	n := 0
	if err := d.store.ContactsOf(1, func(_, _ uint64) error { n++; return nil }); err != nil || n != (contacts+1)/2 {
		t.Errorf("%d contacts, %v", n, err)
	}
	if c := contact(t, d, "u1@example.com"); len(c.Accounts) != 1 || c.Account != "Acme" {
		t.Errorf("contact %+v", c)
	}
	before := dump(t, d)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = open(t, testOptions(t, fs))
	same(t, "after the second open", dump(t, d), before)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestSaaSDeletesALargeAccount holds that an account with more contacts than one
// commit takes is emptied before the call returns, but for who joined later.
func TestSaaSDeletesALargeAccount(t *testing.T) {
	d := mem(t)
	const members = 2*detachPage + 50
	calls := make([]Call, members)
	for i := range calls {
		calls[i] = Call{
			Kind: CallGroup, UserID: fmt.Sprint("u", i), Email: fmt.Sprintf("u%d@example.com", i), GroupID: "g", Time: t0().Add(-time.Hour),
		}
	}
	calls[3].Time = t0().Add(-time.Minute)
	ingest(t, d, calls)
	gone := []Call{{Kind: CallTrack, UserID: "u0", MessageID: "gone", Event: "Account Deleted", Context: CallContext{GroupID: "g"}, Time: t0().Add(-time.Hour / 2)}}
	if errs, err := d.Ingest(context.Background(), gone); err != nil || errs[0] != nil {
		t.Fatal(errs, err)
	}
	id, err := d.store.AccountByGroup("g")
	if err != nil {
		t.Fatal(err)
	}
	var left []uint64
	if err := d.store.ContactsOf(id, func(contact, _ uint64) error { left = append(left, contact); return nil }); err != nil || len(left) != 1 {
		t.Errorf("left %v, %v", left, err)
	}
	if d.Contacts() != members {
		t.Errorf("%d people of %d", d.Contacts(), members)
	}
	checkEdges(t, d)
}

// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A build is given up when half of its conditions about contacts are counted, and the next one
// needs one of those. Nobody kept it true meanwhile for contacts ahead of the next one's pass.
func TestWhatAnAbandonedBuildCountedIsCountedAnew(t *testing.T) {
	fs := vfs.NewMem()
	reopen := func(d *DB, where ...string) *DB {
		if d != nil {
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
		}
		o := testOptions(t, fs)
		o.Segments = nil
		for i, text := range where {
			o.Segments = append(o.Segments, Definition{Name: fmt.Sprint("s", i), Where: text})
		}
		o.private.buildLater, o.private.window = true, 8
		return open(t, o)
	}
	build := func(d *DB) {
		if _, err := d.buildStep(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	d := reopen(nil)
	for i := range 30 {
		importRow(t, d, fmt.Sprint(i), fmt.Sprintf("email,contact.status\nu%d@example.com,x\n", i))
	}
	d = reopen(d, `any_contact(contact.status == "a")`, `contacts(segment("s0")) >= 1`)
	for d.live.counts.list[0].built == d.live.counts.list[1].built { // until one of the two is counted
		build(d)
	}
	d = reopen(d, `any_contact(contact.status == "a")`, `any_contact(contact.status == "b")`)
	build(d)
	importRow(t, d, "late", "email,contact.status,account\nu20@example.com,a,Acme\nu21@example.com,b,Acme\n")
	settle(t, d)
	want := []string{"member of s0 u20@example.com", "member of s0 u21@example.com", "member of s1 u20@example.com", "member of s1 u21@example.com"}
	if got := members(t, d); !slices.Equal(got, want) {
		t.Errorf("members are %v; want %v", got, want)
	}
	recounted(t, d, "in the end")
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

// A condition about contacts may get the number of one that is gone. What is left
// of that in the store is not its own.
func TestAConditionDoesNotInheritTheAnswersOfAnother(t *testing.T) {
	fs := vfs.NewMem()
	with := func(text string, do func(d *DB)) {
		o := testOptions(t, fs)
		o.Segments = nil
		if text != "" {
			o.Segments = []Definition{{Name: "s", Where: text}}
		}
		o.private.buildLater = true
		d := open(t, o)
		settle(t, d)
		do(d)
		recounted(t, d, text)
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	with(`any_contact(contact.status == "a")`, func(d *DB) {
		importRow(t, d, "in", "email,contact.status,account\nu1@example.com,a,Acme\nu2@example.com,a,Acme\n")
	})
	with("", func(d *DB) {
		if _, err := d.Erase("u1@example.com"); err != nil {
			t.Fatal(err)
		}
	})
	with(`any_contact(contact.status == "b")`, func(*DB) {})
}

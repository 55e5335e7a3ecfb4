// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func TestFanOutOfAnAccount(t *testing.T) {
	h := &hand{t0()}
	d := open(t, liveOptions(t, vfs.NewMem(), h))
	defer d.Close()
	importRow(t, d, "1.csv", "email,account,account.plan\na@example.com,Acme,free\nb@example.com,Acme,free\nc@example.com,Other,free\n")
	last := d.LastFlip()
	importRow(t, d, "2.csv", "email,account,account.plan\na@example.com,Acme,paid\n")
	expect(t, d, last, "entered paid a@example.com (account)", "entered paid b@example.com (account)")
}

// TestFanOutIsBounded holds that an account of thousands of contacts is followed
// in batches, with others writing in between, and also after a power cut.
func TestFanOutIsBounded(t *testing.T) {
	h := &hand{t0()}
	fs := vfs.NewCrashableMem()
	d := open(t, liveOptions(t, fs, h))
	const n = fanOutAtOnce + 3*fanOutBatch
	text := "email,account,account.plan\n"
	for i := range n {
		text += fmt.Sprintf("u%d@example.com,Acme,free\n", i)
	}
	importRow(t, d, "1.csv", text)
	paid := func() int {
		list := d.Segments()
		return list[slices.IndexFunc(list, func(s Info) bool { return s.Name == "paid" })].Members
	}
	importRow(t, d, "2.csv", "email,account,account.plan\nu0@example.com,Acme,paid\n")
	if got := paid(); got != fanOutAtOnce {
		t.Fatalf("%d members in the commit of the change", got)
	}
	if more, err := d.fanOut(); err != nil || !more || paid() != fanOutAtOnce+fanOutBatch {
		t.Fatalf("%d members after a batch, more %v, %v", paid(), more, err)
	}
	importRow(t, d, "3.csv", "email,contact.status\nsomebody@example.com,trial\n")
	left := fs.CrashClone(vfs.CrashCloneCfg{})
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = open(t, liveOptions(t, left, h))
	defer d.Close()
	if more, err := d.fanOut(); err != nil || !more || paid() != fanOutAtOnce+2*fanOutBatch {
		t.Fatalf("%d members after the restart and a batch, more %v, %v", paid(), more, err)
	}
	settle(t, d)
	if got := paid(); got != n {
		t.Fatalf("%d members in the end", got)
	}
	expect(t, d, d.LastFlip())
}

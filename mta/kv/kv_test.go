// SPDX-License-Identifier: Apache-2.0

package kv

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

func open(t *testing.T, o Options) *DB {
	t.Helper()
	d, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func small(fs vfs.FS) Options {
	return Options{Dir: "a/b/store", FS: fs, Format: "test", Version: 3, MemTableSize: 1 << 20}
}

func TestEpochAndDataSurviveReopen(t *testing.T) {
	fs := vfs.NewMem()
	d := open(t, small(fs))
	epoch := d.Epoch()
	if epoch == 0 {
		t.Fatal("epoch is 0")
	}
	if !d.CleanShutdown() {
		t.Fatal("a new store counts as clean")
	}
	if err := d.Pebble().Set([]byte("k"), []byte("v"), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.Close(), d.Close()); err != nil {
		t.Fatal(err)
	}
	d = open(t, small(fs))
	defer d.Close()
	if d.Epoch() != epoch || !d.CleanShutdown() {
		t.Fatalf("epoch %d, want %d; clean %v, want true", d.Epoch(), epoch, d.CleanShutdown())
	}
	if v, err := d.get("k"); err != nil || string(v) != "v" {
		t.Fatalf("k = %q, %v", v, err)
	}
	other := open(t, Options{Dir: "other", FS: fs, Format: "test", Version: 3})
	defer other.Close()
	if other.Epoch() == epoch {
		t.Fatal("two stores have one epoch")
	}
}

func TestCrashIsNotClean(t *testing.T) {
	fs := vfs.NewCrashableMem()
	d := open(t, small(fs))
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = open(t, small(fs))
	crashed := fs.CrashClone(vfs.CrashCloneCfg{})
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	after := open(t, small(crashed))
	if after.CleanShutdown() {
		t.Fatal("a crash counts as clean")
	}
	if after.Epoch() != d.Epoch() {
		t.Fatal("the epoch changed with the crash")
	}
	if err := after.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, small(crashed))
	defer again.Close()
	if !again.CleanShutdown() {
		t.Fatal("a clean close after the crash does not count")
	}
}

func TestFormatMismatch(t *testing.T) {
	fs := vfs.NewMem()
	if err := open(t, small(fs)).Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := pebble.Open("foreign", &pebble.Options{FS: fs, FormatMajorVersion: pebble.FormatNewest, Logger: &logger{health: &health{log: slog.New(slog.DiscardHandler)}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(raw.Set([]byte("x"), nil, pebble.Sync), raw.Close()); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name string
		edit func(*Options)
		want string
	}{
		{"version", func(o *Options) { o.Version = 4 }, `store a/b/store has format version 3 of "test"; this segue reads version 4`},
		{"name", func(o *Options) { o.Format = "queue" }, `store a/b/store has format "test" version 3; expected "queue" version 3`},
		{"foreign", func(o *Options) { o.Dir = "foreign" }, `store foreign was not written by segue`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			o := small(fs)
			c.edit(&o)
			_, err := Open(o)
			var fe *FormatError
			if !errors.As(err, &fe) || !strings.HasPrefix(err.Error(), c.want) {
				t.Fatalf("error %v, want a FormatError %q", err, c.want)
			}
		})
	}
}

func TestReadOnlyLeavesTheMarker(t *testing.T) {
	fs := vfs.NewMem()
	if err := open(t, small(fs)).Close(); err != nil {
		t.Fatal(err)
	}
	o := small(fs)
	o.ReadOnly = true
	for range 2 {
		d := open(t, o)
		if !d.CleanShutdown() {
			t.Fatal("not clean")
		}
		if err := d.Pebble().Set([]byte("k"), nil, pebble.Sync); !errors.Is(err, pebble.ErrReadOnly) {
			t.Fatalf("writing: %v", err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSharedCache(t *testing.T) {
	for size, warned := range map[int64]bool{8 << 20: false, 4 << 20: true} {
		var buf bytes.Buffer
		c := NewCache(size)
		fs := vfs.NewMem()
		o := Options{Dir: "a", FS: fs, Format: "a", Version: 1, Cache: c, MemTableSize: 1 << 20, Logger: slog.New(slog.NewTextHandler(&buf, nil))}
		a := open(t, o)
		o.Dir = "b"
		b := open(t, o)
		if err := errors.Join(a.Close(), b.Close()); err != nil {
			t.Fatal(err)
		}
		c.Close()
		if got := strings.Contains(buf.String(), "shared block cache"); got != warned {
			t.Errorf("a cache of %d bytes: warned %v, want %v", size, got, warned)
		}
	}
}

func TestOpenOnDisk(t *testing.T) {
	dir := t.TempDir()
	o := Options{Dir: dir + "/x/store", Format: "test", Version: 1}
	d := open(t, o)
	if _, err := Open(o); err == nil {
		t.Fatal("two owners of one directory")
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	free, total, err := Space(dir)
	if err != nil || free == 0 || total < free {
		t.Fatalf("space %d of %d, %v", free, total, err)
	}
	if _, _, err := Space(dir + "/absent"); err == nil {
		t.Fatal("no error for a missing directory")
	}
}

func TestOptionsRequired(t *testing.T) {
	for _, o := range []Options{{}, {Dir: "x", Format: "y"}, {Dir: "x", Version: 1}, {Format: "y", Version: 1}} {
		o.FS = vfs.NewMem()
		if _, err := Open(o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}

// Who starts a second engine, or one as another user, reads what to do about it.
func TestAnOpenThatIsDeniedSaysWhy(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]string{
		syscall.EAGAIN:  "opening store x/queue: another process has it open: is segue running already?",
		syscall.EACCES:  "opening store x/queue: permission denied (it and all in it must belong to the user",
		syscall.EIO:     "opening store x/queue: input/output error (the disk failed",
		errors.New("?"): "opening store x/queue: ?",
	} {
		if got := openError("x/queue", err).Error(); !strings.HasPrefix(got, want) {
			t.Errorf("%v: got %q, not %q", err, got, want)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/mta/codec"
)

func sample(at time.Time) Sent {
	return Sent{
		Time: at, Contact: 12, Address: "Ann@dest.example", Stream: "marketing", Segment: "trial", SegmentVersion: 7, Tier: "active", Pool: "prime",
		Campaign: "spring", Batch: "fair-2026", Source: "a1", Provider: "google", Domain: "example.com", Token: 3, Heard: HeardComplaint | HeardBounce,
	}
}

// TestSentRoundTrip: a record comes back as it was written, and no part of one is read
// as another.
func TestSentRoundTrip(t *testing.T) {
	want := sample(time.Date(2026, 11, 23, 9, 0, 0, 1000, time.UTC))
	sampled := want
	sampled.Sample = []string{"segment:trial#2", "batch:fair-2026#1"}
	for _, want := range []Sent{want, sampled} {
		b := want.append(nil)
		if got, err := decodeSent(ID{1, 4}, b); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
		for n := range b {
			if _, err := decodeSent(ID{}, b[:n]); err == nil {
				t.Errorf("a record cut to %d bytes was read", n)
			}
		}
	}
}

// TestSentOfAnEarlierRelease: what it wrote is read for 60 days; whose token the message
// carried is not in it, and nobody else can be blamed.
func TestSentOfAnEarlierRelease(t *testing.T) {
	want := sample(time.Date(2026, 11, 23, 9, 0, 0, 1000, time.UTC))
	b := codec.AppendTime([]byte{sentFirst}, want.Time)
	b = codec.AppendUint(codec.AppendUint(b, want.Contact), want.SegmentVersion)
	for _, s := range want.texts() {
		b = codec.AppendString(b, *s)
	}
	want.Batch, want.Heard, want.Token = "", 0, 4
	if got, err := decodeSent(ID{1, 4}, b); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
}

// write puts records into the index.
func write(t *testing.T, s *Store, records map[ID]Sent) {
	t.Helper()
	err := s.Commit(t.Context(), func(tx *Tx) error {
		for id, r := range records {
			tx.Sent(id, &r)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestSentTo: an address finds what it was last sent, in a span of time, and never what
// another address was sent.
func TestSentTo(t *testing.T) {
	s := openMem(t, vfs.NewMem(), false)
	defer s.Close()
	noon := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	at := func(address string, day int) Sent {
		r := sample(noon.AddDate(0, 0, day))
		r.Address = address
		return r
	}
	write(t, s, map[ID]Sent{
		{1, 0}: at("Ann@dest.example", 0), {2, 0}: at("ann@dest.example", 2), {3, 0}: at("ann@dest.example", 2), {4, 0}: at("bob@dest.example", 3),
	})
	later := at("ann@dest.example", 2)
	later.Time = later.Time.Add(time.Hour)
	write(t, s, map[ID]Sent{{3, 0}: later})
	for _, tt := range []struct {
		address    string
		from, last int
		want       string
	}{
		{"ann@dest.example", -60, 5, "3.0"},
		{"ann@dest.example", -60, 1, "1.0"},
		{"ann@dest.example", 1, 1, "not found"},
		{"ann@dest.example", 3, 9, "not found"},
		{"bob@dest.example", -60, 5, "4.0"},
		{"eve@dest.example", -60, 5, "not found"},
	} {
		id, r, err := s.SentTo(tt.address, noon.AddDate(0, 0, tt.from), noon.AddDate(0, 0, tt.last).Add(2*time.Hour))
		got := id.String()
		if errors.Is(err, ErrNotFound) {
			got = "not found"
		} else if err != nil {
			t.Fatal(err)
		}
		if got != tt.want {
			t.Errorf("%s from day %d to %d: %s (%+v), want %s", tt.address, tt.from, tt.last, got, r, tt.want)
		}
	}
}

// TestSentIsReadWithinItsGroup: two reports in one batch see each other, or both count.
func TestSentIsReadWithinItsGroup(t *testing.T) {
	s := openMem(t, vfs.NewMem(), false)
	defer s.Close()
	id := ID{1, 0}
	write(t, s, map[ID]Sent{id: {Time: s.now(), Address: "ann@dest.example"}})
	fresh := 0
	err := s.Commit(t.Context(), func(tx *Tx) error {
		for range 2 {
			r, err := tx.SentRecord(id)
			if err != nil {
				return err
			}
			if r.Heard&HeardComplaint == 0 {
				fresh++
			}
			r.Heard |= HeardComplaint
			tx.Sent(id, &r)
		}
		return nil
	})
	if err != nil || fresh != 1 {
		t.Errorf("%d of two reports were the first, %v", fresh, err)
	}
}

// TestSentIsCut: with the messages of a day go their records and what finds them by address.
func TestSentIsCut(t *testing.T) {
	s := openMem(t, vfs.NewMem(), false)
	defer s.Close()
	day := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	for i := range 3 {
		write(t, s, map[ID]Sent{{uint64(i + 1), 0}: {Time: day.AddDate(0, 0, i), Address: "ann@dest.example"}})
	}
	err := s.Commit(t.Context(), func(tx *Tx) error { tx.TruncateSent(dayOf(day)+1, 2); return nil })
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for i := range 3 {
		if _, err := s.SentRecord(ID{uint64(i + 1), 0}); err == nil {
			left = append(left, fmt.Sprint(i))
		}
	}
	if fmt.Sprint(left) != "[1 2]" {
		t.Errorf("records of days %v are left", left)
	}
	n := 0
	if err := s.scan([]byte{prefixSentTo}, nil, func(_, _ []byte) error { n++; return nil }); err != nil || n != 2 {
		t.Errorf("%d entries by address are left, %v", n, err)
	}
}

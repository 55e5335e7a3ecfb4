// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/seguemta/segue/mta/codec"
	"github.com/seguemta/segue/mta/rfc5321"
)

// Sent is what late feedback about a delivered recipient needs.
type Sent struct {
	Time           time.Time
	Contact        uint64
	Address        string
	Stream         string
	Segment        string
	SegmentVersion uint64
	Tier           string
	Pool           string
	Campaign       string
	Batch          string // the import that made the contact
	Source         string
	Provider       string
	Domain         string // the sending domain

	// Token is the recipient whose token the message carried: of a transaction with
	// several recipients the first, in every other case this one itself.
	Token uint32
	Heard Heard

	Sample []string // trials that it was let go for
}

// Heard is the set of what feedback has said about a recipient: a report that comes
// twice counts once.
type Heard uint8

// What feedback can say, each once.
const (
	HeardBounce      Heard = 1 << iota // a notification that counts against the recipient or less
	HeardHardBounce                    // one that suppresses it
	HeardComplaint                     // a spam report
	HeardUnsubscribe                   // an opt-out
	HeardNotSpam                       // "this is not spam"
	HeardUnnamed                       // something that named none of the recipients of a transaction
	HeardAnswer                        // the answer of a program, such as one on holiday
)

const (
	sentVersion = 2
	// sentFirst is the version before Batch, Token and Heard.
	sentFirst = 1
	// sentSampled is of one that was let go for a trial: behind those are the trials.
	sentSampled = 3
)

func (s *Sent) append(b []byte) []byte {
	if len(s.Sample) == 0 {
		b = append(b, sentVersion)
	} else {
		b = append(b, sentSampled)
	}
	b = codec.AppendTime(b, s.Time)
	b = codec.AppendUint(b, s.Contact)
	b = codec.AppendUint(b, s.SegmentVersion)
	for _, t := range s.texts() {
		b = codec.AppendString(b, *t)
	}
	b = codec.AppendString(b, s.Batch)
	b = codec.AppendUint(b, uint64(s.Token))
	b = codec.AppendUint(b, uint64(s.Heard))
	if len(s.Sample) > 0 {
		b = codec.AppendStrings(b, s.Sample)
	}
	return b
}

func (s *Sent) texts() [9]*string {
	return [9]*string{&s.Address, &s.Stream, &s.Segment, &s.Tier, &s.Pool, &s.Campaign, &s.Source, &s.Provider, &s.Domain}
}

// decodeSent reads the record of a recipient.
func decodeSent(id ID, v []byte) (Sent, error) {
	version := byte(sentVersion)
	if len(v) > 0 && (v[0] == sentFirst || v[0] == sentSampled) {
		version = v[0]
	}
	r, err := open("sent record", v, version)
	if err != nil {
		return Sent{}, err
	}
	s := Sent{Time: r.Time(), Contact: r.Uint(), SegmentVersion: r.Uint()}
	for _, t := range s.texts() {
		*t = r.String()
	}
	if version == sentFirst {
		// Nobody wrote down whose token it was. Its own is the one that can blame no other.
		s.Token = id.Recipient
		return s, closed("sent record", r)
	}
	s.Batch, s.Token, s.Heard = r.String(), uint32(r.Uint()), Heard(r.Uint()) //nolint:gosec // written from uint32 and uint8
	if version == sentSampled {
		s.Sample = r.Strings()
	}
	return s, closed("sent record", r)
}

func sentKey(id ID) []byte { return appendID([]byte{prefixSent}, id) }

func dayOf(t time.Time) uint32 {
	return uint32(max(t.Unix()/86400, 0)) //nolint:gosec // days since 1970 fit
}

// sentToPrefix begins the entries of what an address was sent on a day.
func sentToPrefix(day uint32, addressKey string) []byte {
	b := binary.BigEndian.AppendUint32([]byte{prefixSentTo}, day)
	return append(b, addressPrefix(addressKey)[1:]...)
}

// Sent writes the index entry that late feedback is looked up in.
func (tx *Tx) Sent(id ID, s *Sent) {
	tx.buf = s.append(tx.buf[:0])
	tx.set(sentKey(id), tx.buf)
	if a, err := rfc5321.ParseAddress(s.Address); err == nil {
		tx.set(appendID(sentToPrefix(dayOf(s.Time), a.Key()), id), nil)
	}
	cp := *s
	tx.sent[id] = &cp
}

// SentRecord reads the sent index as of this point of the group; ErrNotFound where
// the recipient is not in it.
func (tx *Tx) SentRecord(id ID) (Sent, error) {
	if s := tx.sent[id]; s != nil {
		return *s, nil
	}
	return tx.s.SentRecord(id)
}

// TruncateSent removes the sent index of all messages below first, and the day
// mark of day, which named the first message that is kept.
func (tx *Tx) TruncateSent(day uint32, first uint64) {
	tx.delRange(key64(prefixSent, 0), key64(prefixSent, first))
	tx.delRange(dayKey(0), dayKey(day))
	from := []byte{prefixSentTo}
	tx.delRange(from, binary.BigEndian.AppendUint32(from, day))
}

// SentRecord reads the sent index; ErrNotFound where the recipient is not in it.
func (s *Store) SentRecord(id ID) (Sent, error) {
	v, err := s.get(sentKey(id))
	if err != nil {
		return Sent{}, err
	}
	return decodeSent(id, v)
}

// SentOf reads the sent index of all recipients of a message.
func (s *Store) SentOf(mid uint64) (map[ID]Sent, error) {
	m := make(map[ID]Sent)
	err := s.scan(key64(prefixSent, mid), nil, func(k, v []byte) error {
		id, _ := cutID(k)
		sent, err := decodeSent(id, v)
		m[id] = sent
		return err
	})
	return m, err
}

// SentTo finds what was last delivered to an address key between two times;
// ErrNotFound where nothing was.
func (s *Store) SentTo(addressKey string, from, until time.Time) (ID, Sent, error) {
	for day := dayOf(until); day >= dayOf(from); day-- {
		var best ID
		var last Sent
		err := s.scan(sentToPrefix(day, addressKey), nil, func(k, _ []byte) error {
			id, _ := cutID(k)
			sent, err := s.SentRecord(id)
			if errors.Is(err, ErrNotFound) {
				return nil // its message was accepted on a day that is cut
			}
			if err != nil {
				return err
			}
			a, err := rfc5321.ParseAddress(sent.Address)
			if err != nil || a.Key() != addressKey || sent.Time.Before(from) || sent.Time.After(until) || sent.Time.Before(last.Time) {
				return nil
			}
			best, last = id, sent
			return nil
		})
		if err != nil || best != (ID{}) {
			return best, last, err
		}
		if day == 0 {
			break
		}
	}
	return ID{}, Sent{}, ErrNotFound
}

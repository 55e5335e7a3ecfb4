// SPDX-License-Identifier: Apache-2.0

package store

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/seguemta/segue/mta/rfc5321"
)

// The format document: every key of the queue's store. Numbers are big endian,
// so that keys sort as the numbers do. mid is a message id (8 bytes), n the index of
// a recipient (4 bytes), class an interned class (4 bytes), due a time in
// milliseconds since 1970 (8 bytes). Names end with a zero byte.
//
//	0x00 ...                        format, epoch, clean marker: package kv
//	m mid                           message header, see Message
//	b mid part                      body in parts of BodyPart bytes (part: 4 bytes)
//	o mid                           body parts are on disk, the header is not: removed with the header's commit
//	r mid n                         recipient, see Recipient; gone when concluded
//	s domain 0 class due mid n      schedule entry, empty
//	p hold 0 mid n                  parked entry, empty
//	x minute mid n                  expiry (minute: 4 bytes, since 1970), empty
//	a hash mid n                    a contact's queued mail (hash: 8 bytes of the address key's SHA-256), empty
//	t mid seq                       events of a message, empty
//	e seq                           event
//	h seq                           event that has an act, empty
//	c name                          a consumer's cursor
//	g limit                         budget counter, see Counter; limit is the text form of a schedule.BudgetKey and the day
//	i mid n                         sent index: what late feedback needs, see Sent
//	j day hash mid n                what an address was sent on a day (4 bytes; hash as above), empty
//	d day                           first message id of a day (4 bytes): where the sent index is cut
//	n "mid"                         message ids below this number may have been used
//	n "class" id                    an interned class
//	n "event"                       last event that was truncated, so that numbers never start again
//	n "xcursor"                     minute up to which expiry has been scanned
//	v mid n                         a recipient's place under caps while it is sent, see Reservation; gone with its outcome
//	f week who time mid n           a message that counts under caps, empty: week (4 bytes, since 1970) and time (milliseconds,
//	                                8 bytes) of its delivery; who is "c" and 16 bytes of the address key's SHA-256, or "a" and
//	                                an account id (8 bytes). Whole weeks go when no cap looks back so far
//	k name                          state of other packages (reputation): opaque bytes
const (
	prefixMessage  = 'm'
	prefixBody     = 'b'
	prefixOrphan   = 'o'
	prefixRcpt     = 'r'
	prefixSchedule = 's'
	prefixParked   = 'p'
	prefixExpiry   = 'x'
	prefixAddress  = 'a'
	prefixTimeline = 't'
	prefixEvent    = 'e'
	prefixAct      = 'h'
	prefixCursor   = 'c'
	prefixBudget   = 'g'
	prefixSent     = 'i'
	prefixSentTo   = 'j'
	prefixDay      = 'd'
	prefixName     = 'n'
	prefixState    = 'k'
	prefixReserved = 'v'
	prefixUsed     = 'f'
)

// BodyPart is the size of one stored part of a body, in bytes.
const BodyPart = 256 << 10

func key64(prefix byte, v uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefix}, v)
}

func messageKey(mid uint64) []byte { return key64(prefixMessage, mid) }

func bodyKey(mid uint64, part uint32) []byte {
	return binary.BigEndian.AppendUint32(key64(prefixBody, mid), part)
}

func appendID(b []byte, id ID) []byte {
	b = binary.BigEndian.AppendUint64(b, id.Message)
	return binary.BigEndian.AppendUint32(b, id.Recipient)
}

func cutID(b []byte) (ID, bool) {
	if len(b) < 12 {
		return ID{}, false
	}
	b = b[len(b)-12:]
	return ID{Message: binary.BigEndian.Uint64(b), Recipient: binary.BigEndian.Uint32(b[8:])}, true
}

func rcptKey(id ID) []byte { return appendID([]byte{prefixRcpt}, id) }

func schedulePrefix(domain string, class ClassID) []byte {
	b := append([]byte{prefixSchedule}, domain...)
	b = append(b, 0)
	return binary.BigEndian.AppendUint32(b, uint32(class))
}

func scheduleKey(r *Recipient, id ID) []byte {
	b := schedulePrefix(r.Address.Domain, r.Class)
	b = binary.BigEndian.AppendUint64(b, milli(r.Due))
	return appendID(b, id)
}

// milli is a time as a key: never negative, so that it sorts.
func milli(t time.Time) uint64 {
	return uint64(max(t.UnixMilli(), 0))
}

// cutSchedule reads a schedule key back.
func cutSchedule(key []byte) (domain string, class ClassID, due time.Time, id ID, ok bool) {
	for i := 1; i < len(key); i++ {
		if key[i] != 0 {
			continue
		}
		rest := key[i+1:]
		if len(rest) != 4+8+12 {
			return "", 0, time.Time{}, ID{}, false
		}
		id, ok = cutID(rest)
		ms := int64(binary.BigEndian.Uint64(rest[4:])) //nolint:gosec // written by milli
		return string(key[1:i]), ClassID(binary.BigEndian.Uint32(rest)), time.UnixMilli(ms).UTC(), id, ok
	}
	return "", 0, time.Time{}, ID{}, false
}

func parkedKey(hold string, id ID) []byte {
	b := append([]byte{prefixParked}, hold...)
	return appendID(append(b, 0), id)
}

func minute(t time.Time) uint32 {
	return uint32(max(t.Unix()/60, 0)) //nolint:gosec // minutes since 1970 fit
}

func expiryKey(at time.Time, id ID) []byte {
	// An entry stands in the minute after its time, so that a finished minute
	// holds only what has expired.
	return appendID(binary.BigEndian.AppendUint32([]byte{prefixExpiry}, minute(at)+1), id)
}

func addressPrefix(key string) []byte {
	sum := sha256.Sum256([]byte(key))
	return append([]byte{prefixAddress}, sum[:8]...)
}

func addressKey(a rfc5321.Address, id ID) []byte { return appendID(addressPrefix(a.Key()), id) }

func timelineKey(mid, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(key64(prefixTimeline, mid), seq)
}

func eventKey(seq uint64) []byte { return key64(prefixEvent, seq) }

func actKey(seq uint64) []byte { return key64(prefixAct, seq) }

func dayKey(day uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{prefixDay}, day)
}

func classKey(id ClassID) []byte {
	return binary.BigEndian.AppendUint32([]byte("nclass"), uint32(id))
}

func textKey(prefix byte, name string) []byte { return append([]byte{prefix}, name...) }

// Names of single keys.
const (
	nameNextMessage = "nmid"
	nameExpiry      = "nxcursor"
	nameLastEvent   = "nevent"
)

// upper is the first key behind all keys that begin with prefix.
func upper(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] != 0xff {
			end[i]++
			return end[:i+1]
		}
	}
	return nil
}

// SPDX-License-Identifier: Apache-2.0

package signal

import (
	"fmt"
	"math"
	"math/bits"
	"net/netip"
	"time"

	"github.com/seguemta/segue/mta/codec"
)

// layout is the version that each value begins with.
const layout = 1

// Append appends the binary form.
func (d *Domain) Append(b []byte) []byte {
	b = append(b, layout)
	b = codec.AppendInt(b, d.At)
	for _, n := range []float64{d.Delivered, d.Swept, d.Delay} {
		b = appendNumber(b, n)
	}
	return b
}

// DecodeDomain reads what [Domain.Append] wrote. Errors wrap [codec.ErrCorrupt].
func DecodeDomain(value []byte) (Domain, error) {
	r := codec.NewReader(value)
	version := r.Byte()
	d := Domain{At: r.Int(), Delivered: number(r), Swept: number(r), Delay: number(r)}
	sound := version == layout && d.Delivered >= 0 && d.Swept >= 0 && d.Delay >= 0 && inRange(d.At)
	if r.Err() != nil || r.More() || !sound {
		return Domain{}, fmt.Errorf("what is known of a domain's gateway: %w", codec.ErrCorrupt)
	}
	return d, nil
}

// appendNumber appends a number; round ones are short.
func appendNumber(b []byte, n float64) []byte {
	return codec.AppendUint(b, bits.ReverseBytes64(math.Float64bits(n)))
}

// number reads a finite number; NaN, which no check lets through, for others.
func number(r *codec.Reader) float64 {
	n := math.Float64frombits(bits.ReverseBytes64(r.Uint()))
	if math.IsInf(n, 0) {
		return math.NaN()
	}
	return n
}

// inRange reports whether microseconds are of the years 1 to 9999: differences
// of such times do not overflow.
func inRange(micro int64) bool { return micro >= -62135596800_000_000 && micro < 253402300800_000_000 }

// Bits of a stored hit.
const (
	flagClick = 1 << iota
	flagHead
	flagHoneypot
	flagsKnown = flagClick | flagHead | flagHoneypot
)

// Append appends the binary form.
func (m *Held) Append(b []byte) []byte {
	b = append(b, layout)
	b = codec.AppendTime(b, m.Delivered)
	b = codec.AppendUint(b, uint64(max(0, m.Links)))
	b = codec.AppendBool(b, m.swept)
	b = codec.AppendUint(b, uint64(m.lost))
	b = codec.AppendUint(b, uint64(len(m.seen)))
	for _, requester := range m.seen {
		b = codec.AppendUint(b, requester)
	}
	b = codec.AppendUint(b, uint64(m.done)) //nolint:gosec // done counts hits
	b = codec.AppendUint(b, uint64(len(m.hits)))
	for i := range m.hits {
		b = m.hits[i].append(b)
	}
	return b
}

func (h *Hit) append(b []byte) []byte {
	var flags byte
	for _, f := range []struct {
		set bool
		bit byte
	}{{h.Kind == Click, flagClick}, {h.Head, flagHead}, {h.Honeypot, flagHoneypot}} {
		if f.set {
			flags |= f.bit
		}
	}
	b = append(b, flags)
	b = codec.AppendInt(b, h.At.UnixMicro())
	b = codec.AppendUint(b, uint64(h.Link))
	b = codec.AppendUint(b, h.ID)
	b = codec.AppendBytes(b, h.Addr.AsSlice())
	return codec.AppendString(b, h.Agent)
}

// DecodeHeld reads what [Held.Append] wrote. Errors wrap [codec.ErrCorrupt].
func DecodeHeld(value []byte) (Held, error) {
	r := codec.NewReader(value)
	sound := r.Byte() == layout
	m := Held{Delivered: r.Time()}
	links := r.Uint()
	m.swept = r.Bool()
	lost, seen := r.Uint(), r.Uint()
	sound = sound && links <= math.MaxInt32 && lost <= math.MaxUint32 && seen <= maxSeen
	for i := uint64(0); sound && i < seen; i++ {
		m.seen = append(m.seen, r.Uint())
	}
	done, hits := r.Uint(), r.Uint()
	sound = sound && done <= hits && hits <= MaxHits && (m.Delivered.IsZero() || inRange(m.Delivered.UnixMicro()))
	for i := uint64(0); sound && r.Err() == nil && i < hits; i++ {
		h, ok := decodeHit(r)
		sound = ok && (i == 0 || i == done || !h.At.Before(m.hits[i-1].At))
		m.hits = append(m.hits, h)
	}
	if r.Err() != nil || r.More() || !sound {
		return Held{}, fmt.Errorf("held opens and clicks: %w", codec.ErrCorrupt)
	}
	m.Links, m.lost, m.done = int(links), uint32(lost), int(done) //nolint:gosec // bounded above
	return m, nil
}

func decodeHit(r *codec.Reader) (h Hit, ok bool) {
	flags, micro, link := r.Byte(), r.Int(), r.Uint()
	h.ID = r.Uint()
	addr := r.Bytes()
	h.Agent = r.String()
	if len(addr) > 0 {
		if h.Addr, ok = netip.AddrFromSlice(addr); !ok {
			return h, false
		}
	}
	if flags&flagClick != 0 {
		h.Kind = Click
	}
	h.Head, h.Honeypot = flags&flagHead != 0, flags&flagHoneypot != 0
	h.At, h.Link = time.UnixMicro(micro).UTC(), uint32(link) //nolint:gosec // checked in the next line
	return h, r.Err() == nil && flags&^flagsKnown == 0 && link <= math.MaxUint32 && len(h.Agent) <= MaxAgent && inRange(micro)
}

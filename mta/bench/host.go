// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"context"
	"hash/maphash"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/seguemta/segue/mta/simulate"
)

// greet lets a client in, or not.
func (k *Sink) greet(ctx context.Context, c net.Conn) {
	k.mu.Lock()
	k.report.Connections++
	k.mu.Unlock()
	s := &simulate.Session{Conn: c, Host: k, Name: k.o.Name, Chunking: k.o.Chunking}
	switch a := k.judge("connect", "", nil); {
	case a.Delay > 0 && !pause(ctx, a.Delay), a.Cut && a.Reply == "":
	case a.Reply != "":
		s.Refuse(a.Reply)
	default:
		s.Serve(ctx)
	}
}

// judge asks the rules of a phase about the recipients, or about the next
// number where there are none yet.
func (k *Sink) judge(phase, to string, more []string) simulate.Answer {
	var a simulate.Answer
	for i := range k.o.Rules {
		r := &k.o.Rules[i]
		if r.Phase != phase || !k.fits(i, r, to, more) {
			continue
		}
		k.mu.Lock()
		k.report.Rules[r.String()]++
		k.mu.Unlock()
		a.Delay += r.Delay
		if r.Delay == 0 {
			a.Reply, a.Cut = r.Reply, r.Drop || strings.HasPrefix(r.Reply, "421")
			break
		}
	}
	return a
}

// fits reports whether a rule has chosen one of the recipients.
func (k *Sink) fits(i int, r *Rule, to string, more []string) bool {
	if to == "" {
		return simulate.Chance(r.Share, k.o.Seed, strconv.Itoa(i), strconv.FormatUint(k.turns.Add(1), 10))
	}
	if strings.Contains(to, r.Match) && k.picks(i, r, to) {
		return true
	}
	for _, to := range more {
		if strings.Contains(to, r.Match) && k.picks(i, r, to) {
			return true
		}
	}
	return false
}

// picks looks at a recipient: chosen ones are looked at with another number the
// next time, the others stay free.
func (k *Sink) picks(i int, r *Rule, to string) bool {
	if r.Share >= 1 {
		return true
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	key := hit{i, to}
	if !simulate.Chance(r.Share, k.o.Seed, strconv.Itoa(i), to, strconv.Itoa(k.hits[key])) {
		return false
	}
	k.hits[key]++
	return true
}

// Mail implements [simulate.Host].
func (k *Sink) Mail(*simulate.Session) simulate.Answer { return k.judge("mail", "", nil) }

// Rcpt implements [simulate.Host].
func (k *Sink) Rcpt(_ *simulate.Session, address string) simulate.Answer {
	return k.judge("rcpt", address, nil)
}

// Data implements [simulate.Host]: it decides also whether to look at the message.
func (k *Sink) Data(s *simulate.Session) simulate.Answer {
	s.Keep = k.o.SignedEach > 0 && k.looked.Add(1)%uint64(k.o.SignedEach) == 0
	return k.judge("data", s.To[0], s.To[1:])
}

// Done implements [simulate.Host]: it counts what is taken.
func (k *Sink) Done(s *simulate.Session) simulate.Answer {
	a := k.judge("dot", s.To[0], s.To[1:])
	if a.Delay += k.o.Delay; a.Reply == "" && !a.Cut {
		k.take(s)
	}
	return a
}

func (k *Sink) take(s *simulate.Session) {
	signed := s.Keep && signed(s.Message)
	now := time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	r := &k.report
	if r.Messages++; r.Messages == 1 {
		r.First = now
	}
	r.Last = now
	r.Octets += int64(s.Size)
	switch {
	case signed:
		r.Signed++
	case s.Keep:
		r.Unsigned++
	}
	for _, to := range s.To {
		k.count(to)
	}
	if r.Messages == k.o.Messages {
		close(k.enough)
	}
}

// count needs the lock.
func (k *Sink) count(to string) {
	k.report.Recipients++
	key := maphash.String(k.hash, to)
	if _, seen := k.seen[key]; seen {
		k.report.Duplicates++
	} else if len(k.seen) < maxUnique {
		k.seen[key] = struct{}{}
	}
	if k.ledger != nil && k.broken == nil {
		_, k.broken = k.ledger.WriteString(to + "\n")
	}
}

// signed reports whether a message has a DKIM-Signature field.
func signed(message []byte) bool {
	header, _, _ := bytes.Cut(message, []byte("\r\n\r\n"))
	field := []byte("dkim-signature:")
	for line := range bytes.Lines(header) {
		if len(line) >= len(field) && bytes.EqualFold(line[:len(field)], field) {
			return true
		}
	}
	return false
}

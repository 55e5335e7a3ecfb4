// SPDX-License-Identifier: Apache-2.0

package smtpclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/seguemta/segue/mta/rfc5321"
)

// flight is how many octets of commands may be under way before their replies
// are read. RFC 2920 section 3.1 warns of the deadlock where both sides wait for
// the other to read; this stays far below every TCP window.
const flight = 8 << 10

// Send runs one transaction. The result has an outcome for every recipient, and
// an error where the connection broke. Cancelling ctx breaks it at once.
func (c *Conn) Send(ctx context.Context, tx *Transaction) Result {
	res := Result{Recipients: make([]Outcome, len(tx.To))}
	if c.broken != nil {
		e := *c.broken
		res.Err = &e
		return res
	}
	if c.br.Buffered() > 0 {
		// A reply that answers nothing of ours: the next ones could not be told apart.
		res.Err = c.fail(PhaseReset, fmt.Errorf("%w: the server spoke out of turn", ErrReply))
		res.Err.Stale = true
		c.Abort()
		return res
	}
	todo := c.admit(tx, &res)
	if len(todo) == 0 {
		res.Reusable = true
		return res
	}
	c.until = time.Now().Add(c.opts.Timeouts.Total)
	defer func() { c.until = time.Time{} }()
	stop := context.AfterFunc(ctx, c.Abort)
	x := exchange{c: c, tx: tx, res: &res, todo: todo, reused: c.done > 0}
	c.done++
	err := x.run()
	if !stop() && err == nil {
		// The answer is complete, but the socket is gone.
		err = c.fail(PhaseQuit, nil)
	}
	if err != nil {
		if ctx.Err() != nil {
			err.Err, err.Chunking = context.Cause(ctx), false
		}
		res.Err = err
		c.Abort()
		c.opts.Logger.LogAttrs(ctx, slog.LevelDebug, "connection broke",
			slog.String("host", c.opts.Host), slog.String("phase", string(err.Phase)), slog.Bool("sent", err.Sent), slog.Any("error", err))
	}
	res.Reusable = c.broken == nil
	return res
}

// exchange is one running transaction.
type exchange struct {
	c      *Conn
	tx     *Transaction
	res    *Result
	todo   []int // recipients to offer
	reused bool

	pending []step // commands whose replies are still to come
	replies int    // read so far
	mail    rfc5321.Reply
	go354   bool  // DATA was answered by 354
	bdat    bool  // BDAT is on the wire
	cut     error // why the last flight was not written to its end
	open    []int // recipients that the server accepted
}

// step is a command under way.
type step struct {
	phase Phase
	rcpt  int // index in Transaction.To
}

// run sends the envelope, then the message where it is wanted.
func (x *exchange) run() *Error {
	if err := x.envelope(); err != nil || x.nobody() {
		return err
	}
	if x.c.chunks() {
		return x.chunked()
	}
	return x.data()
}

// envelope sends RSET where needed, MAIL and RCPT. Without PIPELINING each
// command waits for its answer, and nothing is asked whose answer cannot matter.
func (x *exchange) envelope() *Error {
	c := x.c
	if c.dirty {
		if err := x.command(step{phase: PhaseReset}, "RSET"); err != nil {
			return err
		}
	}
	c.dirty = true
	x.res.MailSent = true
	if err := x.command(step{phase: PhaseMail}, c.mailLine(x.tx, x.todo)); err != nil {
		return err
	}
	for _, i := range x.todo {
		if x.refused() {
			return nil
		}
		if err := x.command(step{PhaseRcpt, i}, "RCPT TO:<"+x.tx.To[i].String()+">"); err != nil {
			return err
		}
	}
	return nil
}

// nobody reports that there is nobody left to send the message to, and no answer
// under way that could change it.
func (x *exchange) nobody() bool {
	return x.refused() || (len(x.pending) == 0 && len(x.open) == 0)
}

// data hands the message over by DATA.
func (x *exchange) data() *Error {
	x.c.line("DATA")
	x.pending = append(x.pending, step{phase: PhaseData})
	if err := x.settle(); err != nil {
		return err
	}
	switch {
	case !x.go354:
		return nil
	case len(x.open) == 0:
		// All recipients were refused, but DATA was already on its way and the
		// server waits for a message: it gets an empty one (RFC 2920 section 3.1).
		return x.emptyMessage()
	case x.c.br.Buffered() > 0:
		return x.answered(x.c.unasked())
	default:
		err := x.answered(x.c.body(x.tx.Parts))
		x.c.dirty = err != nil
		return err
	}
}

// refused reports that MAIL is known to be refused.
func (x *exchange) refused() bool { return x.mail.Code != 0 && !positive(x.mail) }

// command adds a command to the flight; the flight leaves when it is full.
func (x *exchange) command(s step, line string) *Error {
	x.c.line(line)
	x.pending = append(x.pending, s)
	if !x.c.ext.Pipelining || len(x.c.buf) >= flight {
		return x.settle()
	}
	return nil
}

// settle sends the flight and reads all its replies.
func (x *exchange) settle() *Error { return x.collect(x.c.flush()) }

// collect reads the replies to a flight; werr says why it was not written to its
// end. Replies that came before the connection broke count: they are what the
// server had to say.
func (x *exchange) collect(werr error) *Error {
	x.cut = werr
	for i, s := range x.pending {
		timeout := x.c.timeout(s.phase)
		if werr != nil {
			timeout = min(timeout, grace)
		}
		r, err := x.c.await(s.phase, timeout, nil)
		if err == nil {
			x.replies++
			if err = x.take(s, r); err != nil {
				return x.astray(err)
			}
			continue
		}
		if werr != nil && r.Code == 0 {
			err.Err = werr
		}
		err.Sent = s.phase == PhaseDot && r.Code == 0 && werr == nil
		return x.broke(err, x.pending[:i+1], r)
	}
	x.pending = x.pending[:0]
	if werr != nil {
		return x.c.fail(PhaseData, werr)
	}
	return nil
}

// broke settles what a broken connection leaves behind; seen are the commands
// of the flight up to the one where it broke.
func (x *exchange) broke(err *Error, seen []step, r rfc5321.Reply) *Error {
	switch {
	case x.reused && x.replies == 0 && !err.Timeout() && !errors.Is(err.Err, ErrReply):
		err.Stale = true
	case r.Code != 0:
		_ = x.take(seen[len(seen)-1], r) // the reply is in err already
	case err.Timeout() && len(seen) > 1:
		// A reply is missing, and nobody knows which: those that came may have
		// answered the command before. A recipient is better tried twice than
		// bounced for the answer to another.
		for _, s := range seen {
			x.unsay(s)
		}
	}
	return err
}

// astray settles a reply that cannot follow its command. Then there was one too
// many before it, also in an earlier flight, and those behind that one have moved.
func (x *exchange) astray(err *Error) *Error {
	if errors.Is(err.Err, ErrReply) {
		for _, i := range x.todo {
			x.unsay(step{PhaseRcpt, i})
		}
	}
	return err
}

// unsay takes back the refusal of a recipient that may have been meant for another.
func (x *exchange) unsay(s step) {
	if s.phase == PhaseRcpt && x.res.Recipients[s.rcpt].Phase == PhaseRcpt {
		x.res.Recipients[s.rcpt] = Outcome{}
	}
}

// take notes one reply and says whether it can follow its command.
func (x *exchange) take(s step, r rfc5321.Reply) *Error {
	switch {
	case r.Code >= 400:
	case s.phase == PhaseData && r.Code == 354:
	case s.phase != PhaseData && positive(r):
	default:
		e := x.c.failReply(s.phase, r)
		e.Err, e.Sent = ErrReply, s.phase == PhaseDot
		return e
	}
	switch s.phase {
	case PhaseReset:
		if !positive(r) {
			return x.c.failReply(s.phase, r)
		}
	case PhaseMail:
		x.mail = r
		if !positive(r) {
			for _, i := range x.todo {
				x.res.Recipients[i] = Outcome{Reply: r, Phase: PhaseMail}
			}
		}
	case PhaseRcpt:
		x.takeRcpt(s.rcpt, r)
	case PhaseData:
		x.takeData(r)
	case PhaseDot:
		return x.takeLast(r)
	default: // no other command is under way in a transaction
	}
	return nil
}

func (x *exchange) takeRcpt(i int, r rfc5321.Reply) {
	switch {
	case x.refused():
		// The answer to MAIL already speaks for every recipient.
	case positive(r):
		x.open = append(x.open, i)
	default:
		x.res.Recipients[i] = Outcome{Reply: tooMany(r), Phase: PhaseRcpt}
	}
}

// takeData gives a refusal of DATA to all recipients that were still in.
func (x *exchange) takeData(r rfc5321.Reply) {
	if x.go354 = r.Code == 354; x.go354 {
		return
	}
	for _, i := range x.open {
		x.res.Recipients[i] = Outcome{Reply: r, Phase: PhaseData}
	}
}

// tooMany turns a 552 that means "too many recipients" into the 452 that it
// should have been (RFC 5321 section 4.5.3.1.10). A 552 for a full mailbox stays.
func tooMany(r rfc5321.Reply) rfc5321.Reply {
	if r.Code != 552 {
		return r
	}
	bare := r.Enhanced == rfc5321.EnhancedCode{} && strings.Contains(strings.ToLower(r.Text), "too many recipients")
	if bare || r.Enhanced == (rfc5321.EnhancedCode{5, 5, 3}) {
		r.Code, r.Enhanced = 452, rfc5321.EnhancedCode{4, 5, 3}
	}
	return r
}

// answered gives the answer to the message to all open recipients.
func (x *exchange) answered(r rfc5321.Reply, phase Phase, err *Error) *Error {
	yes := phase == PhaseDot && positive(r) && err == nil
	switch {
	case x.notChunking(r.Code):
		err = x.c.failReply(PhaseData, r)
		err.Chunking = true
	case r.Code >= 400 || yes:
		for _, i := range x.open {
			x.res.Recipients[i] = Outcome{Reply: r, Phase: phase}
		}
	case err == nil:
		err = x.c.failReply(phase, r)
		err.Err, err.Sent = ErrReply, phase == PhaseDot
	}
	if yes && len(x.open) > 0 {
		// Where an enhanced code does not tell the answer to a message from one to
		// an address, the flight could take one for the other.
		x.c.dirty, x.c.proven = false, x.bdat && aboutMessage(r)
	}
	return err
}

// emptyMessage ends a DATA that nobody wanted. Whatever the server answers, the
// refusals stand.
func (x *exchange) emptyMessage() *Error {
	x.c.line(".")
	werr := x.c.flush()
	if werr != nil {
		return x.c.fail(PhaseDot, werr)
	}
	_, err := x.c.await(PhaseDot, x.c.opts.Timeouts.Dot, nil)
	return err
}

// line appends one command to the write buffer.
func (c *Conn) line(s string) {
	c.buf = append(append(c.buf, s...), '\r', '\n')
}

// flush writes the buffer out. The buffer is empty afterwards, also on error.
func (c *Conn) flush() error {
	if len(c.buf) == 0 {
		return nil
	}
	err := c.write(c.buf)
	c.buf = c.buf[:0]
	return err
}

// write is one write with its deadline.
func (c *Conn) write(p []byte) error {
	_ = c.rw.SetWriteDeadline(c.by(c.opts.Timeouts.Write))
	if _, err := c.rw.Write(p); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	return nil
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

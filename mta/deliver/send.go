// SPDX-License-Identifier: Apache-2.0

package deliver

import (
	"context"
	"log/slog"

	"github.com/seguemta/segue/dkim"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/mta/smtpclient"
	"github.com/seguemta/segue/mta/verp"
	"github.com/seguemta/segue/queue"
)

// connection is a queue.Connection.
type connection struct {
	d *Deliverer
	c *smtpclient.Conn
}

// Close implements queue.Connection.
func (c *connection) Close() {
	if err := c.c.Close(); err != nil {
		c.d.log.Debug("closing a connection failed", slog.Any("error", err))
	}
}

// Send implements queue.Connection.
func (c *connection) Send(ctx context.Context, job *queue.Job) *queue.Result {
	first := &job.Recipients[0]
	top := first.Signature
	if len(top) == 0 || len(job.Recipients) > 1 {
		var err error
		if top, err = c.d.sign(job); err != nil {
			c.d.log.Error("signing a message failed, it waits", slog.String("domain", job.Message.Domain), slog.Any("error", err))
			res := queue.DeferAll(job, "signing failed")
			res.Failed, res.Usable = false, true
			return res
		}
	}
	tx := &smtpclient.Transaction{
		From: c.d.returnPath(job), To: make([]rfc5321.Address, len(job.Recipients)),
		Parts:    [][]byte{top, job.Body},
		EightBit: job.Message.EightBit, UTF8: job.Message.UTF8 && !ascii(job.Body[:job.Message.HeaderSize]),
	}
	for i := range job.Recipients {
		tx.To[i] = job.Recipients[i].Address
	}
	began := c.d.o.Now()
	sent := c.c.Send(ctx, tx)
	for n := 0; c.again(sent.Err) && n < maxRenewals; n++ {
		if res := c.renew(ctx, job); res != nil {
			res.MailSent = sent.MailSent && !sent.Err.Stale
			return res
		}
		if sent = c.c.Send(ctx, tx); sent.Err != nil {
			sent.Err.Stale = false // it was new: the site is to blame
		}
	}
	c.d.metrics.delivery(job.Provider, c.d.o.Now().Sub(began))
	return c.d.result(job, &sent, c.c.Host(), top)
}

// maxRenewals bounds the connections of one attempt: one for a connection that
// the peer had closed, one for a peer that does not know BDAT after all.
const maxRenewals = 2

// again reports an error that is worth another connection at once, since nobody
// has seen anything of this message.
func (c *connection) again(err *smtpclient.Error) bool {
	if err == nil {
		return false
	}
	if err.Chunking {
		c.d.data.note(err.Host, c.d.o.Now())
	}
	return err.Stale || (err.Chunking && !err.Sent && err.Reply.Code != 0)
}

// renew replaces the connection by a new one to the same site.
func (c *connection) renew(ctx context.Context, job *queue.Job) *queue.Result {
	fresh, res := c.d.dial(ctx, job)
	if res != nil {
		return res
	}
	c.Close()
	c.c = fresh
	return nil
}

func ascii(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

// returnPath is the envelope sender: signed, naming message and recipient, so
// that a bounce tells whose it is. The null sender stays null.
func (d *Deliverer) returnPath(job *queue.Job) rfc5321.Address {
	domain := d.o.Domains[job.Message.Domain].ReturnPath
	if job.Message.Sender.IsZero() || domain == "" || d.o.Tokens == nil {
		return job.Message.Sender
	}
	return rfc5321.Address{Local: d.o.Tokens.Encode(verp.ReturnPath, job.MessageID, job.Recipients[0].ID.Recipient), Domain: domain}
}

// sign makes the header fields that go on top: signatures, reference and those of
// marketing mail.
func (d *Deliverer) sign(job *queue.Job) ([]byte, error) {
	domain := d.o.Domains[job.Message.Domain]
	own := d.listFields(job)
	if d.o.Tokens != nil {
		token := d.o.Tokens.Encode(verp.Reference, job.MessageID, job.Recipients[0].ID.Recipient)
		ref := "X-Segue-Ref: " + token + "\r\n"
		if domain.Complaints != "" && domain.Signer != nil { // RFC 9477 section 3.1: it has to be signed
			ref += "CFBL-Address: " + domain.Complaints + "; report=arf\r\nCFBL-Feedback-ID: " + token + "\r\n"
		}
		own = append([]byte(ref), own...)
	}
	if domain.Signer == nil {
		return own, nil
	}
	began := d.o.Now()
	header := make([]byte, 0, len(own)+int(job.Message.HeaderSize))
	header = append(append(header, own...), job.Body[:job.Message.HeaderSize]...)
	var hash dkim.BodyHash
	if copy(hash[:], job.Message.BodyHash) != len(hash) {
		hash = dkim.HashBody(job.Body[job.Message.HeaderSize:])
	}
	fields, err := domain.Signer.Sign(header, hash, began)
	d.metrics.signed(domain.backend(), d.o.Now().Sub(began))
	return append(fields, own...), err
}

// result says what the answers mean for each recipient.
func (d *Deliverer) result(job *queue.Job, sent *smtpclient.Result, host string, top []byte) *queue.Result {
	res := &queue.Result{MailSent: sent.MailSent, Usable: sent.Reusable, Outcomes: make([]queue.Outcome, len(sent.Recipients))}
	several := several(sent.Recipients)
	for i := range sent.Recipients {
		res.Outcomes[i] = d.outcome(job, &sent.Recipients[i], sent.Err, host)
		if o := &res.Outcomes[i]; several && o.Verdict == suppress && aboutMessage(sent.Recipients[i].Phase) {
			o.Verdict = count // one of them is meant, and nobody knows which
		}
		if res.Outcomes[i].Kind == queue.Deferred && len(job.Recipients) == 1 {
			res.Outcomes[i].Signature = top
		}
	}
	if sent.Err != nil {
		// A 421 or a break in a transaction is the site's; what idleness closed
		// has been renewed before it comes here.
		res.Failed = true
	}
	return res
}

// several reports that one answer to the message went to more than one recipient.
func several(list []smtpclient.Outcome) bool {
	n := 0
	for i := range list {
		if aboutMessage(list[i].Phase) {
			n++
		}
	}
	return n > 1
}

// aboutMessage reports a phase whose answer is one for all recipients that are in.
func aboutMessage(p smtpclient.Phase) bool {
	return p == smtpclient.PhaseData || p == smtpclient.PhaseBody || p == smtpclient.PhaseDot
}

func (d *Deliverer) outcome(job *queue.Job, o *smtpclient.Outcome, broke *smtpclient.Error, host string) queue.Outcome {
	out := queue.Outcome{Reply: o.Reply, Host: host}
	switch {
	case o.Delivered():
		out.Kind = queue.Delivered
		return out
	case !o.Answered():
		out.Kind, out.Class, out.Verdict = queue.Deferred, "BadConnection", infrastructure
		if broke != nil {
			out.Reply = rfc5321.Reply{Text: broke.Error()}
		}
		return out
	}
	out.Class, out.Verdict, out.Subject = d.o.Classifier.Classify(job.Provider, o.Reply)
	if o.Phase == smtpclient.PhaseMail && (out.Verdict == suppress || out.Verdict == count) {
		// The server has not heard of the recipient yet: an unknown domain or
		// mailbox in the answer to MAIL is our sender's.
		out.Verdict = infrastructure
	}
	if o.Permanent() {
		out.Kind = queue.Bounced
		return out
	}
	out.Kind = queue.Deferred
	// Greylisting remembers the source: a retry keeps it, unless the source
	// itself was the reason.
	out.Pin = out.Verdict != reputation
	return out
}

// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/mta/smtpclient"
)

// submitters is how many connections submit at one time.
const submitters = 32

// submit hands every message to the engine over SMTP. It returns when each has
// its 250.
func (r *run) submit(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next, done atomic.Int64
	var wg sync.WaitGroup
	for range submitters {
		wg.Go(func() {
			if err := r.submitter(ctx, &next, &done); err != nil {
				cancel(err)
			}
		})
	}
	finished := make(chan struct{})
	go func() { wg.Wait(); close(finished) }()
	err := r.follow(ctx, "submitting", func() (int, bool) {
		select {
		case <-finished:
			return int(done.Load()), true
		default:
			return int(done.Load()), false
		}
	})
	<-finished
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	r.report.Submitted = int(done.Load())
	return err
}

// submitter takes one message after another.
func (r *run) submitter(ctx context.Context, next, done *atomic.Int64) error {
	conn, err := smtpclient.Dial(ctx, smtpclient.Options{
		Remote: r.engine.Submission, Host: "mta." + sendingDomain, Hello: "app." + sendingDomain, TLS: smtpclient.TLSNone,
	})
	if err != nil {
		return fmt.Errorf("connecting to the submission listener: %w", err)
	}
	for ctx.Err() == nil {
		i := int(next.Add(1)) - 1
		if i >= len(r.mails) {
			break
		}
		if err := r.hand(ctx, conn, &r.mails[i]); err != nil {
			return errors.Join(err, conn.Close())
		}
		done.Add(1)
	}
	return conn.Close()
}

func (r *run) hand(ctx context.Context, conn *smtpclient.Conn, m *mail) error {
	to, err := rfc5321.ParseAddress(m.to.Address)
	if err != nil {
		return fmt.Errorf("submitting a message: %w", err)
	}
	res := conn.Send(ctx, &smtpclient.Transaction{
		From: rfc5321.Address{Local: "news", Domain: sendingDomain}, To: []rfc5321.Address{to}, Parts: [][]byte{m.message()},
	})
	switch {
	case res.Err != nil:
		return fmt.Errorf("submitting a message: %w", res.Err)
	case !res.Recipients[0].Delivered():
		return fmt.Errorf("submitting a message: the engine said %s", res.Recipients[0].Reply)
	}
	return nil
}

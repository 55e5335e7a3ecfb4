// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/seguemta/segue/config"
	"github.com/seguemta/segue/mta/smtpserver"
	"github.com/seguemta/segue/mta/submit"
)

// What messages being received may hold at one time, over all listeners of a
// purpose. Strangers who fill the one for feedback do not stop submission.
const (
	submitBytes   = 256 << 20
	feedbackBytes = 64 << 20
)

// listener is an SMTP server of ours.
type listener interface {
	Serve(ctx context.Context, ln net.Listener) error
	Shutdown(ctx context.Context) error
}

// timeouts are those of a listener: nothing waits longer than its idle_timeout.
func timeouts(l *config.Listener) smtpserver.Timeouts {
	idle := l.IdleTimeout.Std()
	return smtpserver.Timeouts{Command: idle, Data: min(idle, 3*time.Minute), Write: min(idle, time.Minute), TLS: min(idle, 30*time.Second)}
}

// makeListeners binds every [[listener]].
func (e *Engine) makeListeners() error {
	creds := make([]submit.Credential, len(e.c.Credentials))
	for i, c := range e.c.Credentials {
		creds[i] = submit.Credential{Name: c.Name, PasswordHash: c.PasswordHash, Streams: c.Streams, Domains: c.Domains, PerHour: int(c.PerHour)}
	}
	accounts, err := submit.NewAccounts(submit.AccountsOptions{Credentials: creds, Now: e.o.Now})
	if err != nil {
		return fmt.Errorf("reading the credentials: %w", err)
	}
	budgets := map[config.Purpose]*smtpserver.Budget{
		config.Submission: smtpserver.NewBudget(submitBytes), config.Feedback: smtpserver.NewBudget(feedbackBytes),
	}
	for i := range e.c.Listeners {
		l := &e.c.Listeners[i]
		srv, err := e.newListener(l, accounts, budgets[l.Purpose])
		if err != nil {
			return fmt.Errorf("making listener %s: %w", l.Address, err)
		}
		ln, err := e.o.Network.Listen(context.Background(), l.Address.String())
		if err != nil {
			return bindError("listener", l.Address.String(), err)
		}
		e.onStop("listener "+l.Address.String(), func() error { return closed(ln.Close()) })
		e.servers = append(e.servers, &server{
			name: string(l.Purpose) + " listener " + l.Address.String(), purpose: string(l.Purpose), ln: ln,
			serve: func(ctx, hard context.Context) error { return serveSMTP(ctx, hard, srv, ln) },
		})
	}
	return nil
}

// bindError says what an operator does about an address that cannot be listened at.
func bindError(what, address string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("binding %s %s: the port is in use by another program, or by another segue (ss -ltnp shows by which)", what, address)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("binding %s %s: this machine does not have this address (ip addr shows which it has)", what, address)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("binding %s %s: %w (a port below 1024 needs CAP_NET_BIND_SERVICE, which the systemd unit gives)", what, address, err)
	default:
		return fmt.Errorf("binding %s %s: %w", what, address, err)
	}
}

func (e *Engine) newListener(l *config.Listener, accounts *submit.Accounts, bytes *smtpserver.Budget) (listener, error) {
	tlsConfig, err := e.loadTLS(l)
	if err != nil {
		return nil, err
	}
	log := e.log.With(slog.String("component", string(l.Purpose)))
	if l.Purpose == config.Feedback {
		return e.newFeedbackListener(l, tlsConfig, bytes, log)
	}
	return submit.New(submit.Options{
		Hostname: e.c.Hostname, TLS: smtpserver.TLSMode(l.TLS), TLSConfig: tlsConfig,
		Trust: config.Prefixes(l.Trust), TrustAs: l.TrustAs,
		TrustDefault: submit.Credential{Name: "trusted", Streams: []string{"marketing"}},
		MaxSize:      l.MaxSize.Bytes(), MaxRecipients: l.MaxRecipients, MaxConnections: l.MaxConnections, MaxConnectionsPerAddress: l.MaxConnectionsPerAddress,
		Timeouts: timeouts(l), Bytes: bytes, Accounts: accounts, OwnDomain: func(d string) bool { return e.plan.signs[d] },
		Admit: e.accept, Logger: log, Registerer: e.o.Registry, Now: e.o.Now,
	})
}

func (e *Engine) loadTLS(l *config.Listener) (*tls.Config, error) {
	if l.TLS == config.TLSNone || l.TLS == "" {
		return nil, nil
	}
	cert, err := newCertificate(l.CertFile, l.KeyFile, e.o.Now, e.log)
	if err != nil {
		return nil, err
	}
	return cert.config(), nil
}

// serveSMTP serves until ctx ends, then gives open transactions until hard ends.
func serveSMTP(ctx, hard context.Context, srv listener, ln net.Listener) error {
	done := make(chan error, 1)
	go func() { done <- srv.Serve(hard, ln) }()
	select {
	case err := <-done:
		if ctx.Err() != nil {
			return nil
		}
		return err
	case <-ctx.Done():
	}
	err := srv.Shutdown(hard)
	served := <-done
	if _, cut := errors.AsType[*smtpserver.CutError](err); cut || errors.Is(err, context.Canceled) {
		return nil // the clients were never told 250: they try again
	}
	return errors.Join(err, served)
}

func closed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func readToken(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	text, err := os.ReadFile(path) //nolint:gosec // the operator's configuration names it
	if err != nil {
		return "", fmt.Errorf("reading the token: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

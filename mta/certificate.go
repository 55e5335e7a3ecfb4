// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/seguemta/segue/config"
)

// certificateEvery is how often files are looked at for a certificate that was renewed.
const certificateEvery = time.Minute

// certificate is a certificate that renews itself: whoever writes its files anew needs
// no restart. It is safe for concurrent use.
type certificate struct {
	certFile, keyFile string
	now               func() time.Time
	log               *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	stamp   [2]time.Time // of the files that current was read from
	looked  time.Time
}

// newCertificate reads a certificate; one that cannot be read at start is an error.
func newCertificate(certFile, keyFile config.Path, now func() time.Time, log *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: string(certFile), keyFile: string(keyFile), now: now, log: log, looked: now()}
	c.stamp = c.stamps()
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate: %w", err)
	}
	c.current = &pair
	return c, nil
}

// stamps are when the files were last written; zero for those that cannot be asked.
func (c *certificate) stamps() (s [2]time.Time) {
	for i, name := range []string{c.certFile, c.keyFile} {
		if info, err := os.Stat(name); err == nil {
			s[i] = info.ModTime()
		}
	}
	return s
}

// get is [tls.Config.GetCertificate]. New files that do not belong together, such as
// while they are written, leave the old certificate in use until they do.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if since := now.Sub(c.looked); 0 <= since && since < certificateEvery {
		return c.current, nil
	}
	c.looked = now
	stamp := c.stamps()
	if stamp == c.stamp {
		return c.current, nil
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil { // looked at again in a minute: a mode that is put right leaves no trace in the stamps
		c.log.Error("a renewed certificate cannot be read, the old one stays in use", slog.String("cert_file", c.certFile), slog.Any("error", err))
		return c.current, nil
	}
	c.current, c.stamp = &pair, stamp
	c.log.Info("a renewed certificate is in use", slog.String("cert_file", c.certFile), slog.Time("expires", pair.Leaf.NotAfter))
	return c.current, nil
}

// config is what a server needs to use the certificate.
func (c *certificate) config() *tls.Config {
	return &tls.Config{GetCertificate: c.get, MinVersion: tls.VersionTLS12}
}

// expiresSoon is how long before its end a certificate is warned about: renewal works
// weeks earlier where it works.
const expiresSoon = 14 * 24 * time.Hour

// checkCertificate reads the certificate of a table and says what is wrong with it.
func checkCertificate(c *config.Config, table string, certFile, keyFile config.Path) []config.Problem {
	if certFile == "" || keyFile == "" {
		return nil
	}
	at := table + ".cert_file"
	pair, err := tls.LoadX509KeyPair(string(certFile), string(keyFile))
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission):
		return []config.Problem{unreadable(c, at, err)}
	case err != nil:
		return []config.Problem{c.Problem(at, err.Error(), "cert_file and key_file must be a PEM certificate chain and its key")}
	}
	return lifetime(c, at, pair.Leaf.NotAfter, time.Now())
}

// lifetime warns of a certificate that has ended or is about to.
func lifetime(c *config.Config, at string, end, now time.Time) []config.Problem {
	switch date := end.Format(time.DateOnly); {
	case now.After(end):
		return []config.Problem{c.Warning(at, "the certificate expired on "+date, "renew it: a running engine takes up the new one within a minute")}
	case now.Add(expiresSoon).After(end):
		return []config.Problem{c.Warning(at, "the certificate expires on "+date, "renew it: a running engine takes up the new one within a minute")}
	}
	return nil
}

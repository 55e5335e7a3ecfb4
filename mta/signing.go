// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"crypto/rsa"
	"fmt"
	"log/slog"
	"strings"

	"github.com/seguemta/segue/config"
	"github.com/seguemta/segue/dkim"
	"github.com/seguemta/segue/dkim/libcrypto"
	"github.com/seguemta/segue/mta/deliver"
)

// ed25519Name is the backend of a domain that has no RSA key.
const ed25519Name = "crypto/ed25519"

// makeSigners gives each sending domain its keys, which sign by libcrypto where
// that is to be had, and says in one line what it is.
func (e *Engine) makeSigners() error {
	log := e.log.With(slog.String("component", "signing"))
	lib, reason := e.openLibcrypto(log)
	if lib != nil {
		e.onStop("libcrypto", lib.Close)
		log.Info("rsa signatures", slog.String("backend", libcrypto.Name), slog.String("version", lib.Version()))
	} else {
		log.Info("rsa signatures", slog.String("backend", libcrypto.GoName), slog.String("reason", reason))
	}
	e.plan.domains, e.plan.signs = make(map[string]deliver.Domain), make(map[string]bool)
	for _, d := range e.c.Domains {
		out := deliver.Domain{ReturnPath: d.ReturnPath, FeedbackID: d.FeedbackID}
		if f := e.c.Feedback; f.CFBL && len(f.Complaints) > 0 {
			local, _, _ := strings.Cut(f.Complaints[0], "@")
			out.Complaints = local + "@" + d.ReturnPath
		}
		if keys := e.plan.keys[d.Name]; len(keys) > 0 {
			if lib != nil {
				accelerate(lib, keys, log)
			}
			signer, err := dkim.NewSigner(dkim.Options{Keys: keys})
			if err != nil {
				return fmt.Errorf("making the signer of domain %s: %w", d.Name, err)
			}
			out.Signer, out.Backend = signer, backend(keys)
		}
		e.plan.domains[d.Name] = out
		e.plan.signs[d.Name] = true
	}
	return nil
}

// openLibcrypto returns nil and why where crypto/rsa signs.
func (e *Engine) openLibcrypto(log *slog.Logger) (lib *libcrypto.Library, reason string) {
	if e.c.Delivery.Signer == config.SignerGo {
		return nil, `delivery.signer = "go"`
	}
	lib, err := libcrypto.Open(libcrypto.Options{Logger: log, Registry: e.o.Registry})
	if err != nil {
		return nil, err.Error()
	}
	return lib, ""
}

// accelerate puts the RSA keys into the library's hands. One that it does not
// take stays with crypto/rsa.
func accelerate(lib *libcrypto.Library, keys []dkim.Key, log *slog.Logger) {
	for i := range keys {
		key, ok := keys[i].Signer.(*rsa.PrivateKey)
		if !ok {
			continue
		}
		fast, err := lib.Signer(key)
		if err != nil {
			log.Warn("libcrypto does not sign with this key, crypto/rsa does",
				slog.String("domain", keys[i].Domain), slog.String("selector", keys[i].Selector), slog.Any("error", err))
			continue
		}
		keys[i].Signer = fast
	}
}

// backend tells what signs with the keys of a domain: the slowest part of it.
func backend(keys []dkim.Key) func() string {
	var fast *libcrypto.Key
	for _, k := range keys {
		switch s := k.Signer.(type) {
		case *rsa.PrivateKey:
			return func() string { return libcrypto.GoName }
		case *libcrypto.Key:
			fast = s
		}
	}
	if fast == nil {
		return func() string { return ed25519Name }
	}
	return fast.Backend // the keys of a library are given up together
}

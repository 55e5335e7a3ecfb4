// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	_ "embed" // the configuration
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/seguemta/segue/dkim"
	"github.com/seguemta/segue/mta/simulate"
)

// Names in the configuration.
const (
	sendingDomain = "shop.example"
	returnPath    = "bounce.shop.example"
	coldSource    = "c1"
	keyBits       = 2048
	newShare      = 0.1 // of the cold source's budget, for contacts that nobody knows
)

// warmAddresses are those of the sources with a history, the cold one's is
// 127.0.0.13.
func warmAddresses() []netip.Addr {
	return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 11}), netip.AddrFrom4([4]byte{127, 0, 0, 12})}
}

// sourceNames gives each address the name of its source.
func sourceNames() map[string]string {
	return map[string]string{"127.0.0.11": "w1", "127.0.0.12": "w2", "127.0.0.13": coldSource}
}

//go:embed segue.toml.tmpl
var configuration string

// settings are what the configuration does not know before.
type settings struct {
	Resolver                   netip.AddrPort
	Port                       uint16
	Default, Google, All, Lane int // budgets, in proportion to the messages
	NewShare                   float64
	Providers                  []simulate.Temper
}

// full is the number of messages for which the budgets are written.
const full = 20_000

// prepare writes configuration, keys and token, and publishes the public halves.
func (r *run) prepare() (file string, err error) {
	part := func(n int) int { return max(2, n*r.o.Messages/full) }
	s := settings{
		Resolver: r.world.Resolver(), Port: r.world.Port(), Providers: simulate.Cast(), NewShare: newShare,
		Default: part(150), Google: part(300), All: part(800), Lane: part(400),
	}
	t, err := template.New("segue.toml").Parse(configuration)
	if err != nil {
		return "", fmt.Errorf("reading the configuration: %w", err)
	}
	var text strings.Builder
	if err := t.Execute(&text, s); err != nil {
		return "", fmt.Errorf("writing the configuration: %w", err)
	}
	if err := r.makeKeys(); err != nil {
		return "", err
	}
	token := make([]byte, 24)
	if _, err := rand.Read(token); err != nil {
		return "", fmt.Errorf("making a token: %w", err)
	}
	if err := r.write("token", []byte(hex.EncodeToString(token)+"\n")); err != nil {
		return "", err
	}
	return filepath.Join(r.o.Dir, "segue.toml"), r.write("segue.toml", []byte(text.String()))
}

func (r *run) write(name string, text []byte) error {
	if err := os.WriteFile(filepath.Join(r.o.Dir, name), text, 0o600); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}

// makeKeys makes the signing keys: RSA for everybody, Ed25519 beside it.
func (r *run) makeKeys() error {
	long, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return fmt.Errorf("making an RSA key: %w", err)
	}
	_, short, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("making an Ed25519 key: %w", err)
	}
	for selector, key := range map[string]crypto.Signer{"rsa": long, "ed": short} {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return fmt.Errorf("writing a key: %w", err)
		}
		if err := r.write(selector+".pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})); err != nil {
			return err
		}
		record, err := dkim.PublicRecord(key)
		if err != nil {
			return fmt.Errorf("publishing a key: %w", err)
		}
		r.world.Publish(selector+"._domainkey."+sendingDomain, record)
	}
	return nil
}

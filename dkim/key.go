// SPDX-License-Identifier: Apache-2.0

package dkim

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
)

// Errors of [ParseKey], [PublicRecord] and [NewSigner].
var (
	// ErrKey means that the text holds no private key in PEM that can be read.
	ErrKey = errors.New("unreadable private key")
	// ErrKeyType means that the key is neither RSA nor Ed25519.
	ErrKeyType = errors.New("key is neither rsa nor ed25519")
	// ErrWeakKey means an RSA key under 1024 bits, which RFC 8301 forbids.
	ErrWeakKey = errors.New("rsa key under 1024 bits")
)

// Key algorithms, as the k= tag of a record names them.
const (
	RSA     = "rsa"
	Ed25519 = "ed25519" // not every receiver verifies it: sign with RSA beside it
)

// KeyInfo describes a key.
type KeyInfo struct {
	Algorithm string // RSA or Ed25519
	Bits      int    // of the RSA modulus; 256 for Ed25519
	Warning   string // empty, or why the key is accepted but not recommended
}

// ParseKey reads the first private key of a PEM file: PKCS #1 or PKCS #8. The
// error wraps [ErrKey], [ErrKeyType] or [ErrWeakKey] and never quotes the file.
func ParseKey(text []byte) (crypto.Signer, KeyInfo, error) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return nil, KeyInfo{}, fmt.Errorf("%w: no PEM block of type PRIVATE KEY or RSA PRIVATE KEY", ErrKey)
		}
		switch block.Type {
		case "RSA PRIVATE KEY":
			if block.Headers["DEK-Info"] != "" {
				return nil, KeyInfo{}, fmt.Errorf("%w: it is encrypted; store it without a passphrase", ErrKey)
			}
			return parsePKCS1(block.Bytes)
		case "PRIVATE KEY":
			return parsePKCS8(block.Bytes)
		case "ENCRYPTED PRIVATE KEY":
			return nil, KeyInfo{}, fmt.Errorf("%w: it is encrypted; store it without a passphrase", ErrKey)
		}
	}
}

func parsePKCS1(der []byte) (crypto.Signer, KeyInfo, error) {
	if err := checkModulus(der); err != nil {
		return nil, KeyInfo{}, err
	}
	key, err := x509.ParsePKCS1PrivateKey(der)
	if err != nil {
		return nil, KeyInfo{}, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return checked(key)
}

func parsePKCS8(der []byte) (crypto.Signer, KeyInfo, error) {
	var outer struct {
		Version   int
		Algorithm asn1.RawValue
		Key       []byte
		Rest      asn1.RawValue `asn1:"optional"`
	}
	if _, err := asn1.Unmarshal(der, &outer); err == nil {
		if err := checkModulus(outer.Key); err != nil {
			return nil, KeyInfo{}, err
		}
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, KeyInfo{}, fmt.Errorf("%w: %w", ErrKey, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, KeyInfo{}, fmt.Errorf("%w: it is %T", ErrKeyType, key)
	}
	return checked(signer)
}

func checked(key crypto.Signer) (crypto.Signer, KeyInfo, error) {
	info, err := describe(key.Public())
	if err != nil {
		return nil, KeyInfo{}, err
	}
	return key, info, nil
}

// checkModulus refuses a short RSA modulus before the standard library does,
// whose own error would not say what is wrong. Bytes that are no RSA key pass.
func checkModulus(der []byte) error {
	var (
		raw     asn1.RawValue
		version int
		n       *big.Int
	)
	if _, err := asn1.Unmarshal(der, &raw); err != nil || !raw.IsCompound {
		return nil
	}
	rest, err := asn1.Unmarshal(raw.Bytes, &version)
	if err != nil {
		return nil
	}
	if _, err := asn1.Unmarshal(rest, &n); err != nil || n == nil {
		return nil
	}
	return checkBits(n.BitLen())
}

func checkBits(bits int) error {
	if bits < 1024 {
		return fmt.Errorf("%w: it has %d; make one of 2048", ErrWeakKey, bits)
	}
	return nil
}

func describe(pub crypto.PublicKey) (KeyInfo, error) {
	switch p := pub.(type) {
	case *rsa.PublicKey:
		bits := p.N.BitLen()
		if err := checkBits(bits); err != nil {
			return KeyInfo{}, err
		}
		info := KeyInfo{Algorithm: RSA, Bits: bits}
		if bits < 2048 {
			info.Warning = fmt.Sprintf("rsa key of %d bits: RFC 8301 recommends at least 2048", bits)
		}
		return info, nil
	case ed25519.PublicKey:
		return KeyInfo{Algorithm: Ed25519, Bits: 256}, nil
	default:
		return KeyInfo{}, fmt.Errorf("%w: it is %T", ErrKeyType, pub)
	}
}

// PublicRecord is the text of the TXT record to publish at
// SELECTOR._domainkey.DOMAIN (RFC 6376 section 3.6.1), as one string: whoever
// writes a zone file cuts it into strings of 255 octets.
func PublicRecord(key crypto.Signer) (string, error) {
	info, err := describe(key.Public())
	if err != nil {
		return "", err
	}
	var p []byte
	switch pub := key.Public().(type) {
	case ed25519.PublicKey:
		p = pub
	default:
		if p, err = x509.MarshalPKIXPublicKey(pub); err != nil {
			return "", fmt.Errorf("encoding public key: %w", err)
		}
	}
	return "v=DKIM1; k=" + info.Algorithm + "; p=" + base64.StdEncoding.EncodeToString(p), nil
}

// SPDX-License-Identifier: Apache-2.0

// Package dkim signs mail (RFC 6376) with RSA-SHA256 and with Ed25519-SHA256
// (RFC 8463). It does not verify, it knows no DNS and reads no files.
//
// Start with [ParseKey] for each private key and [NewSigner] for the set of
// keys that a sending domain uses. For each message call [HashBody] (or feed a
// [BodyHasher]) once and [Signer.Sign] with the header block: the result is one
// DKIM-Signature field for each key, to be sent in front of the header. The
// body is read once however many keys there are, and the [BodyHash] may be kept
// for every other recipient of the same body. [PublicRecord] says what to
// publish.
//
// Canonicalization is always relaxed/relaxed, which survives the re-folding and
// trailing white space that relays add. There is no l= tag: it lets anyone
// append to a signed message. The fields worth protecting are signed once more
// than they occur ("oversigned", section 8.15), so that adding a second From or
// Subject breaks the signature.
//
// Both header and body must be the bytes that go on the wire: lines end in
// CRLF. A bare CR or LF in the body is hashed as it stands; in the header it is
// an error. Whoever accepts mail refuses or repairs them first.
//
// Private operations go through [crypto.Signer], so a key may live in OpenSSL
// or in hardware.
package dkim

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Errors of [NewSigner] and [Signer.Sign].
var (
	// ErrOptions means that a Signer cannot be made from these options.
	ErrOptions = errors.New("bad dkim options")
	// ErrHeader means that the header block is not one that can be signed:
	// not fields ended by CRLF.
	ErrHeader = errors.New("malformed header")
	// ErrNoFrom means that there is no From field, which section 5.4 wants signed.
	ErrNoFrom = errors.New("no From field")
)

// Key signs for one domain under one selector.
type Key struct {
	Domain   string        // d=, in A-labels
	Selector string        // s=
	Signer   crypto.Signer // RSA of at least 1024 bits, or Ed25519
}

// Options make a [Signer].
type Options struct {
	// Keys sign in this order, one field each. At least one.
	Keys []Key
	// Headers are the fields to sign where they are present, every instance of
	// them. From is always signed. nil means [DefaultHeaders].
	Headers []string
	// Oversign are the fields to sign once more than they occur, also those
	// that do not occur. nil means [DefaultOversign]; empty means none.
	Oversign []string
	// OversignPresent are the fields to sign once more than they occur where they
	// occur. nil means [DefaultOversignPresent]; empty means none.
	OversignPresent []string
	// Rand feeds private operations that need it. nil means crypto/rand.
	Rand io.Reader
}

// DefaultHeaders lists what is signed where present: what a reader sees, what
// tells how the body is to be read, and what a mailbox provider acts on. RFC
// 8058 demands both List-Unsubscribe fields.
func DefaultHeaders() []string {
	return []string{
		"From", "Sender", "Reply-To", "To", "Cc", "Subject", "Date", "Message-ID",
		"In-Reply-To", "References", "MIME-Version", "Content-Type", "Content-Transfer-Encoding",
		"Content-Disposition", "Content-ID", "Content-Description", "List-ID", "List-Help",
		"List-Unsubscribe", "List-Unsubscribe-Post", "List-Post", "List-Owner", "List-Archive",
		"Feedback-ID", "Resent-From", "Resent-To", "Resent-Cc", "Resent-Date", "Resent-Message-ID",
		"Autocrypt", "Auto-Submitted", "X-Segue-Ref", "CFBL-Address", "CFBL-Feedback-ID",
	}
}

// DefaultOversign lists the fields whose later addition would change what the
// reader sees. List fields are not among them: see [DefaultOversignPresent].
func DefaultOversign() []string {
	return []string{
		"From", "Reply-To", "To", "Cc", "Subject", "Date", "Message-ID",
		"MIME-Version", "Content-Type", "Content-Transfer-Encoding",
	}
}

// DefaultOversignPresent lists the fields of which there must not be a second one where
// there is one: a reader would not know by which to unsubscribe. Where there is none, a
// mailing list may add its own.
func DefaultOversignPresent() []string {
	return []string{"List-Unsubscribe", "List-Unsubscribe-Post", "Feedback-ID"}
}

// Signer signs messages with a fixed set of keys. It may be used by many
// goroutines at a time if the keys may.
type Signer struct {
	keys  []signingKey
	names []signedName
	rand  io.Reader
}

type signedName struct {
	name     string // as it goes into h=
	oversign bool
	present  bool // oversigned where it occurs
}

type signingKey struct {
	prefix string // the field up to and including "t="
	signer crypto.Signer
	opts   crypto.SignerOpts
}

// NewSigner checks the options; its errors wrap [ErrOptions], [ErrKeyType] or
// [ErrWeakKey].
func NewSigner(o Options) (*Signer, error) {
	if len(o.Keys) == 0 {
		return nil, fmt.Errorf("%w: no key", ErrOptions)
	}
	s := &Signer{rand: o.Rand}
	if s.rand == nil {
		s.rand = rand.Reader
	}
	for _, k := range o.Keys {
		sk, err := newSigningKey(k)
		if err != nil {
			return nil, fmt.Errorf("key %s._domainkey.%s: %w", k.Selector, k.Domain, err)
		}
		s.keys = append(s.keys, sk)
	}
	headers, oversign := o.Headers, o.Oversign
	if headers == nil {
		headers = DefaultHeaders()
	}
	if oversign == nil {
		oversign = DefaultOversign()
	}
	present := o.OversignPresent
	if present == nil {
		present = DefaultOversignPresent()
	}
	for _, list := range []struct {
		names []string
		how   signedName
	}{
		{[]string{"From"}, signedName{}}, {headers, signedName{}}, {oversign, signedName{oversign: true}}, {present, signedName{present: true}},
	} {
		if err := s.addNames(list.names, list.how); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func newSigningKey(k Key) (signingKey, error) {
	if !validDomain(k.Domain) {
		return signingKey{}, fmt.Errorf("%w: domain %q is not a host name in A-labels", ErrOptions, k.Domain)
	}
	if !validDomain(k.Selector) {
		return signingKey{}, fmt.Errorf("%w: selector %q is not a host name", ErrOptions, k.Selector)
	}
	if k.Signer == nil {
		return signingKey{}, fmt.Errorf("%w: no private key", ErrOptions)
	}
	info, err := describe(k.Signer.Public())
	if err != nil {
		return signingKey{}, err
	}
	sk := signingKey{signer: k.Signer, opts: crypto.SHA256}
	if info.Algorithm == Ed25519 {
		// RFC 8463 section 3: PureEdDSA over the SHA-256 digest.
		sk.opts = crypto.Hash(0)
	}
	sk.prefix = "DKIM-Signature: v=1; a=" + info.Algorithm + "-sha256; c=relaxed/relaxed;\r\n\td=" +
		strings.ToLower(k.Domain) + "; s=" + k.Selector + ";\r\n\tt="
	return sk, nil
}

func (s *Signer) addNames(names []string, how signedName) error {
next:
	for _, name := range names {
		if !validFieldName(name) || strings.Contains(name, ";") {
			return fmt.Errorf("%w: %q is not a header field name", ErrOptions, name)
		}
		for i := range s.names {
			if strings.EqualFold(s.names[i].name, name) {
				s.names[i].oversign = s.names[i].oversign || how.oversign
				s.names[i].present = s.names[i].present || how.present
				continue next
			}
		}
		how.name = name
		s.names = append(s.names, how)
	}
	return nil
}

// Sign returns one complete DKIM-Signature field for each key, CRLF included,
// to be put in front of the header. header is the whole header block as it will
// be sent; the empty line after it may be present. body is the hash of the body
// that will follow. now becomes t=.
//
// The error wraps [ErrHeader] or [ErrNoFrom], or comes from the key. No field is
// returned with an error.
func (s *Signer) Sign(header []byte, body BodyHash, now time.Time) ([]byte, error) {
	var space [64]field
	fields, err := parseFields(space[:0], header)
	if err != nil {
		return nil, err
	}
	if !hasField(fields, "From") {
		return nil, ErrNoFrom
	}

	// canon is what all keys hash first; list is the h= tag they share.
	canon := make([]byte, 0, len(header)+1536)
	list := make([]byte, 0, 1024)
	canon, list = s.collect(canon, list, fields)

	out := make([]byte, 0, len(s.keys)*(len(list)+768))
	for i := range s.keys {
		if out, err = s.appendSignature(out, &s.keys[i], canonical{canon, list, body}, now); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// canonical is what the keys of one message have in common.
type canonical struct {
	header []byte // signed fields in relaxed form
	list   []byte // value of h=, folded
	body   BodyHash
}

// collect appends the signed fields, bottom instance first (section 5.4.2), in
// relaxed form to canon and their names to list.
func (s *Signer) collect(canon, list []byte, fields []field) (_, _ []byte) {
	width := len("\th=")
	for _, n := range s.names {
		count := 0
		for _, f := range slices.Backward(fields) {
			if f.is(n.name) {
				canon = appendRelaxed(canon, f)
				count++
			}
		}
		if n.oversign || n.present && count > 0 {
			count++
		}
		for range count {
			list, width = appendName(list, n.name, width)
		}
	}
	return canon, list
}

const foldAt = 74

// appendName adds one name to an h= list, folding before it gets too long.
func appendName(list []byte, name string, width int) ([]byte, int) {
	if len(list) > 0 {
		list = append(list, ':')
		width++
	}
	if width+len(name) >= foldAt {
		list = append(list, "\r\n\t "...)
		width = 2
	}
	return append(list, name...), width + len(name)
}

// appendSignature builds the field with an empty b=, hashes it after the
// message's fields, signs, and completes it.
func (s *Signer) appendSignature(out []byte, k *signingKey, c canonical, now time.Time) ([]byte, error) {
	start := len(out)
	out = append(out, k.prefix...)
	out = strconv.AppendInt(out, now.Unix(), 10)
	out = append(out, "; bh="...)
	out = base64.StdEncoding.AppendEncode(out, c.body[:])
	out = append(out, ";\r\n\th="...)
	out = append(out, c.list...)
	out = append(out, ";\r\n\tb="...)

	// canon.header has spare room, and what is written there is used up before the next key.
	own := out[start:]
	signed := appendRelaxed(c.header, field{name: own[:len("DKIM-Signature")], value: own[len("DKIM-Signature:"):]})
	digest := sha256.Sum256(bytes.TrimSuffix(signed, []byte("\r\n")))
	sig, err := k.signer.Sign(s.rand, digest[:], k.opts)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	return append(appendFolded(out, sig), "\r\n"...), nil
}

// appendFolded appends sig in base64, folded. The first line starts right after "b=".
func appendFolded(out, sig []byte) []byte {
	const perLine = 54 // bytes: 72 characters
	for i := 0; i < len(sig); i += perLine {
		if i > 0 {
			out = append(out, "\r\n\t "...)
		}
		out = base64.StdEncoding.AppendEncode(out, sig[i:min(i+perLine, len(sig))])
	}
	return out
}

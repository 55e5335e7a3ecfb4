// SPDX-License-Identifier: Apache-2.0

package config

import "fmt"

// WriteKey lets an application tell events over the tracking API: Segment's, below
// /v1/ of the http listener. It gives no right but that.
type WriteKey struct {
	// The name of the application, in logs and beside what it told.
	Name string `toml:"name" required:"true" identity:"true" format:"name" need:"each write key has a name"`

	// The SHA-256 of the key in hexadecimal digits, behind sha256:; `segue check
	// --write-key` makes a key and prints both. A key is random, not chosen, so that
	// nothing slower than SHA-256 is needed. By default the key is in key_file.
	KeyHash string `toml:"key_hash" format:"sha256" defaultdoc:"the key is in key_file"`

	// A file with the key itself, of 16 characters or more: for one that is in use
	// already, such as that of a Segment source. By default there is key_hash, which is
	// better: the file must be kept from others.
	KeyFile Path `toml:"key_file" defaultdoc:"the key has a key_hash"`

	// Events that are taken within a second, in the long run; what is above it is
	// answered 429 and comes again. A batch is taken whole. 0 is without limit, and the
	// default: only its owner knows how much an application tells.
	PerSecond int64 `toml:"per_second" default:"0" min:"0" max:"1000000"`
}

// writeKeys reports write keys that no application can use.
func (k *checker) writeKeys() {
	for _, x := range k.c.WriteKeys {
		key := fmt.Sprintf("write_key[%s]", x.Name)
		hashed, filed := k.c.IsSet(key+".key_hash"), k.c.IsSet(key+".key_file")
		switch {
		case hashed && filed:
			k.fail(key+".key_file", "is not used while there is a key_hash", "keep one of the two")
		case !hashed && !filed:
			k.fail(key+".key_hash", "is missing", "make a key with segue check --write-key, or name a key_file")
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package verp

// The base32 of RFC 4648 in lower case and without padding. The standard
// library's decoder skips line ends and ignores stray bits, so that several
// texts would decode to one token.
const alphabet = "abcdefghijklmnopqrstuvwxyz234567"

func appendBase32(dst, raw []byte) []byte {
	var bits uint64
	n := 0
	for _, c := range raw {
		bits = bits<<8 | uint64(c)
		for n += 8; n >= 5; n -= 5 {
			dst = append(dst, alphabet[bits>>(n-5)&31])
		}
	}
	if n > 0 {
		dst = append(dst, alphabet[bits<<(5-n)&31])
	}
	return dst
}

// decodeBase32 fills raw from text in either case. It reports false for any
// other byte, another length, or bits beyond raw that are not zero.
func decodeBase32(raw []byte, text string) bool {
	if len(text) != (len(raw)*8+4)/5 {
		return false
	}
	var bits uint64
	n, at := 0, 0
	for i := range len(text) {
		v, ok := value(fold(text[i]))
		if !ok {
			return false
		}
		bits = bits<<5 | uint64(v)
		if n += 5; n >= 8 && at < len(raw) {
			n -= 8
			raw[at] = byte(bits >> n & 0xff)
			at++
		}
	}
	return bits&(1<<n-1) == 0
}

func value(c byte) (byte, bool) {
	switch {
	case c >= 'a' && c <= 'z':
		return c - 'a', true
	case c >= '2' && c <= '7':
		return c - '2' + 26, true
	default:
		return 0, false
	}
}

func fold(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}

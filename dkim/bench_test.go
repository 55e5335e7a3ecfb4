// SPDX-License-Identifier: Apache-2.0

package dkim

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	oracle "github.com/emersion/go-msgauth/dkim"
)

// benchBody is prose with some indented markup, as newsletters are.
func benchBody(size int) []byte {
	const text = "Dear reader, this is a line of text as newsletters have them, not too long.\r\n" +
		"    <td class=\"x\">indented markup</td>\r\n" +
		"It goes on for a while, and then for a while more, until it is done with it.\r\n\r\n"
	return []byte(strings.Repeat(text, size/len(text)+1)[:size])
}

func BenchmarkHashBody(b *testing.B) {
	for _, kb := range []int{2, 10, 100} {
		body := benchBody(kb << 10)
		b.Run(fmt.Sprintf("%dKB", kb), func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				HashBody(body)
			}
		})
	}
}

// BenchmarkSign compares with go-msgauth, keys and body included.
func BenchmarkSign(b *testing.B) {
	for _, name := range []string{"rsa2048.pem", "ed25519.pem"} {
		key := Key{Domain: "football.example.com", Selector: "s", Signer: readKey(b, name)}
		s := newSigner(b, Options{Keys: []Key{key}})
		for _, kb := range []int{2, 10, 100} {
			body := benchBody(kb << 10)
			whole := append([]byte(exampleHeader+"\r\n"), body...)
			b.Run(fmt.Sprintf("%s/%dKB/segue", name, kb), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := s.Sign([]byte(exampleHeader), HashBody(body), signedAt()); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run(fmt.Sprintf("%s/%dKB/msgauth", name, kb), func(b *testing.B) {
				b.ReportAllocs()
				o := &oracle.SignOptions{
					Domain: key.Domain, Selector: key.Selector, Signer: key.Signer,
					HeaderCanonicalization: oracle.CanonicalizationRelaxed, BodyCanonicalization: oracle.CanonicalizationRelaxed,
					HeaderKeys: []string{"From", "To", "Subject", "Date", "Message-ID"},
				}
				for b.Loop() {
					var out bytes.Buffer
					if err := oracle.Sign(&out, bytes.NewReader(whole), o); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package track

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/netx"
)

// Bounds over all connections. A parsed event takes up to twenty times the memory of
// its text, so that bodies are parsed few at a time.
const (
	bodyMemory   = 32 << 20 // octets of bodies
	smallAtOnce  = 64       // bodies of maxEvent at most
	largeAtOnce  = 8
	bodyTimeout  = 30 * time.Second // for a whole body
	turnTimeout  = 5 * time.Second  // for being parsed
	firstPiece   = 4 << 10
	decompressor = 48 << 10 // octets that reading gzip takes
)

// budget caps octets that are held.
type budget struct {
	limit int64
	used  atomic.Int64
}

// hold is what one request has of a budget.
type hold struct {
	of *budget
	n  int64
}

// grow takes n more, or nothing and returns false where they are not left.
func (h *hold) grow(n int) bool {
	if h.of.used.Add(int64(n)) > h.of.limit {
		h.of.used.Add(-int64(n))
		return false
	}
	h.n += int64(n)
	return true
}

// release gives everything back.
func (h *hold) release() {
	h.of.used.Add(-h.n)
	h.n = 0
}

// errFull says that the budget has no room for a body now.
var errFull = errors.New("too many requests are being received")

// readBody reads and decompresses a body. The error is a problem, or errFull.
func (h *hold) readBody(r *http.Request) ([]byte, error) {
	if err := checkCharset(r.Header.Get("Content-Type")); err != nil {
		return nil, err
	}
	if r.ContentLength > maxBody {
		return nil, tooLarge()
	}
	packed := false
	switch coding := strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding"))); coding {
	case "", "identity":
	case "gzip", "x-gzip":
		packed = true
	default:
		return nil, refused("unknown content coding", fmt.Sprintf("%q is not known here: send gzip or nothing", coding))
	}
	text, err := h.readAll(netx.Impatient(r.Body, time.Now().Add(bodyTimeout)), max(int(r.ContentLength)+1, firstPiece))
	if err != nil || !packed {
		return text, readProblem(err, "the body cannot be read")
	}
	if !h.grow(decompressor) {
		return nil, errFull
	}
	z, err := gzip.NewReader(bytes.NewReader(text))
	if err != nil {
		return nil, readProblem(err, "the body is no gzip")
	}
	text, err = h.readAll(z, 4*len(text)+firstPiece)
	return text, readProblem(err, "the gzip is damaged")
}

// readAll reads up to maxBody octets, and takes the memory before it fills it.
func (h *hold) readAll(r io.Reader, guess int) ([]byte, error) {
	const most = maxBody + 1 // one more shows that there is more
	var text []byte
	for size := min(guess, most); ; size = min(2*size, most) {
		if !h.grow(size - cap(text)) {
			return nil, errFull
		}
		text = append(make([]byte, 0, size), text...)
		for len(text) < size {
			n, err := r.Read(text[len(text):size])
			text = text[:len(text)+n]
			switch {
			case errors.Is(err, io.EOF) && len(text) <= maxBody:
				return text, nil
			case err != nil && len(text) <= maxBody:
				return nil, err
			case len(text) > maxBody:
				return nil, tooLarge()
			}
		}
	}
}

// checkCharset takes any media type: Segment's clients send application/json,
// text/plain from a browser, and RudderStack's a form that is none. A charset that
// is not ours would fill contacts with wrong letters.
func checkCharset(contentType string) error {
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil // nothing that a client would be asked to change
	}
	switch charset := strings.ToLower(params["charset"]); charset {
	case "", "utf-8", "utf8", "us-ascii":
		return nil
	default:
		return refused("unknown charset", fmt.Sprintf("%q is not known here: JSON is UTF-8 (RFC 8259)", charset))
	}
}

// refused is the answer to a body that can never be taken. It is 400 whatever the
// reason: the clients repeat other statuses.
func refused(title, detail string) error {
	return api.Problem(http.StatusBadRequest, title, detail)
}

func tooLarge() error {
	return refused("request too large", fmt.Sprintf("a request has at most %d octets, decompressed, and an event %d: send smaller batches", maxBody, maxEvent))
}

// readProblem tells a body that did not come from one that is broken.
func readProblem(err error, title string) error {
	var problem *api.Error
	switch {
	case err == nil, errors.Is(err, errFull), errors.As(err, &problem):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return api.Problem(http.StatusRequestTimeout, "request too slow", fmt.Sprintf("the body did not arrive within %s", bodyTimeout))
	default:
		return refused(title, err.Error())
	}
}

// SPDX-License-Identifier: Apache-2.0

package simulate

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
)

// data takes the message, or hangs up in the middle of it.
func (s *Session) data(ctx context.Context) bool {
	if len(s.To) == 0 || s.chunking {
		s.say("503 5.5.1 no valid recipients, or BDAT has begun")
		return true
	}
	a := s.Host.Data(s)
	if a.Reply != "" {
		return s.give(ctx, a, "")
	}
	if a.Delay > 0 && !s.wait(ctx, a.Delay) {
		return false
	}
	s.say("354 go ahead")
	if !s.flush() {
		return false
	}
	if a.Cut {
		// Part of the message, so that the client is in the middle of writing it.
		_, _ = s.r.Peek(1)
		return false
	}
	if err := s.readMessage(); err != nil {
		return false
	}
	return s.done(ctx)
}

// done ends the transaction.
func (s *Session) done(ctx context.Context) bool {
	a := s.Host.Done(s)
	s.reset()
	return s.give(ctx, a, "250 2.0.0 taken")
}

// readMessage reads up to the final dot and takes the stuffed dots out.
func (s *Session) readMessage() error {
	begins := true
	for {
		b, err := s.r.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		if begins && len(b) > 0 && b[0] == '.' {
			if err == nil && bytes.Equal(b, []byte(".\r\n")) {
				return nil
			}
			b = b[1:]
		}
		if err := s.keep(b); err != nil {
			return err
		}
		begins = err == nil
	}
}

// keep takes a part of the message.
func (s *Session) keep(b []byte) error {
	if s.Size += len(b); s.Size > maxMessage {
		return io.ErrShortBuffer
	}
	if s.Keep {
		s.Message = append(s.Message, b...)
	}
	return nil
}

// bdat takes one chunk (RFC 3030 section 2). A chunk that is refused is read all
// the same, for its octets are on the way.
func (s *Session) bdat(ctx context.Context, args string) bool {
	size, rest, _ := strings.Cut(args, " ")
	n, err := strconv.ParseUint(size, 10, 31)
	if err != nil || !s.Chunking || (rest != "" && !strings.EqualFold(rest, "LAST")) {
		s.say("501 5.5.4 BDAT size [LAST]")
		return false
	}
	a := Answer{}
	switch {
	case len(s.To) == 0:
		a.Reply = "503 5.5.1 no valid recipients"
	case !s.chunking:
		a = s.Host.Data(s)
	}
	s.chunking = a.yes()
	if a.Cut && a.Reply == "" {
		_, _ = s.r.Peek(1)
		return false
	}
	for left := int(n); left > 0; {
		b, err := s.r.Peek(min(left, max(1, s.r.Buffered())))
		if err != nil {
			return false
		}
		if s.chunking {
			if err := s.keep(b); err != nil {
				return false
			}
		}
		left -= len(b)
		_, _ = s.r.Discard(len(b)) // buffered
	}
	if s.chunking && rest != "" {
		return s.done(ctx)
	}
	return s.give(ctx, a, "250 2.0.0 "+size+" octets")
}

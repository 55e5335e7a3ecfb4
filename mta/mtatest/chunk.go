// SPDX-License-Identifier: Apache-2.0

package mtatest

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// doChunk serves one BDAT (RFC 3030). Its octets are read also where there is
// nobody to read them for, as a server must.
func (s *session) doChunk(line string) error {
	size, last, err := chunkSize(line)
	if err != nil {
		s.violation(err.Error())
		return errEnd
	}
	code, err := s.act("bdat", line, "")
	if err != nil || code != 0 {
		return err
	}
	chunk := make([]byte, size)
	if _, err := io.ReadFull(s.br, chunk); err != nil {
		return err
	}
	if !s.alone(line) {
		return errEnd
	}
	refusal := ""
	switch {
	case !s.mail || s.spoiled:
		refusal = "503 5.5.1 no message to add to"
	case len(s.msg.To) == 0:
		refusal = "554 5.5.1 no valid recipients"
	}
	if refusal != "" {
		_, err := s.act("chunk", line, refusal)
		return err
	}
	s.msg.Data = append(s.msg.Data, chunk...)
	if last {
		return s.end("250 2.0.0 queued")
	}
	if code, err = s.act("chunk", line, fmt.Sprintf("250 2.0.0 %d octets", size)); code != '2' {
		s.spoiled = true
	}
	return err
}

func chunkSize(line string) (size int, last bool, err error) {
	words := strings.Fields(line)
	if len(words) == 3 && words[2] == "LAST" {
		last, words = true, words[:2]
	}
	if len(words) != 2 {
		return 0, false, fmt.Errorf("malformed: %s", line)
	}
	size, err = strconv.Atoi(words[1])
	if err != nil || size < 0 {
		return 0, false, fmt.Errorf("malformed: %s", line)
	}
	return size, last, nil
}

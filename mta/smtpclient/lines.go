// SPDX-License-Identifier: Apache-2.0

package smtpclient

import (
	"bytes"
	"fmt"
)

// CheckLines returns [ErrLineEnding] (wrapped, with the place) when the parts
// put behind one another hold a CR without LF or an LF without CR.
func CheckLines(parts [][]byte) error {
	cr, offset := false, 0
	for _, p := range parts {
		if len(p) == 0 {
			continue
		}
		if cr && p[0] != '\n' {
			return fmt.Errorf("%w at octet %d", ErrLineEnding, offset)
		}
		if err := checkPart(p, cr, offset); err != nil {
			return err
		}
		cr = p[len(p)-1] == '\r'
		offset += len(p)
	}
	if cr {
		return fmt.Errorf("%w at octet %d", ErrLineEnding, offset)
	}
	return nil
}

// checkPart checks one part; cr says that the part before it ended in CR. A CR
// at its very end is the next part's business.
func checkPart(p []byte, cr bool, offset int) error {
	for i := 0; ; {
		n := bytes.IndexByte(p[i:], '\n')
		line := p[i:]
		if n >= 0 {
			line = p[i : i+n]
			if n > 0 && line[n-1] == '\r' {
				line = line[:n-1]
			} else if i > 0 || n > 0 || !cr {
				return fmt.Errorf("%w at octet %d", ErrLineEnding, offset+i+n)
			}
		} else {
			line = bytes.TrimSuffix(line, []byte{'\r'})
		}
		if at := bytes.IndexByte(line, '\r'); at >= 0 {
			return fmt.Errorf("%w at octet %d", ErrLineEnding, offset+i+at)
		}
		if n < 0 {
			return nil
		}
		i += n + 1
	}
}

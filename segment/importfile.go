// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"

	"github.com/seguemta/segue/segment/rule"
)

// maxRow is the longest row, in bytes. A missing quotation mark would otherwise
// read the rest of the file into memory.
const maxRow = 1 << 20

// fingerprint is how much of the file, with its name, recognises an import.
const fingerprint = 64 << 10

// rowReader reads rows of one format. Between next and next, value gives the
// typed cells.
type rowReader interface {
	// next goes to the next row: io.EOF after the last, a *fault where this row
	// cannot be read but the next may, any other error ends the import.
	next() error
	columns() []column
	// value is the cell of a column, Missing where it is blank.
	value(i int) (rule.Value, error)
	// bytes is the cell as it stands there, empty where it is blank: JSON in JSON
	// lines, text in CSV.
	bytes(i int) []byte
	number() uint64 // of the row, as an editor or a spreadsheet counts it
	sum() uint32    // over everything read so far
	read() int64    // bytes read so far
}

// fault is why a row was rejected.
type fault struct {
	column string // "" = the whole row
	reason string
}

func (f *fault) Error() string {
	if f.column == "" {
		return f.reason
	}
	return f.column + ": " + f.reason
}

// openRows finds out format, delimiter and kind, reads the header and makes the
// id under which progress is kept. What it found stands in o afterwards.
func openRows(schema *rule.Schema, o *ImportOptions) (rowReader, [16]byte, error) {
	var id [16]byte
	if o.Kind != "" && !slices.Contains(Kinds(), o.Kind) {
		return nil, id, fmt.Errorf("%w: kind %q (use one of %s)", ErrFormat, o.Kind, strings.Join(Kinds(), ", "))
	}
	if _, err := listName(o.List); err != nil {
		return nil, id, fmt.Errorf("%w: list: %w", ErrFormat, err)
	}
	in, head, err := unpack(o.Reader)
	if err != nil {
		return nil, id, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	first := sha256.Sum256(head) // of what Peek showed: reading on overwrites it
	if o.Format == "" {
		o.Format = detect(o.Name, head)
	}
	l := &lines{in: in}
	var rows rowReader
	switch o.Format {
	case FormatCSV:
		rows, err = newCSV(schema, o, l, head)
	case FormatJSONL:
		rows, err = newJSONL(schema, o, l)
	default:
		err = fmt.Errorf("%w: format %q (use csv or jsonl)", ErrFormat, o.Format)
	}
	h := sha256.New()
	for _, s := range []string{o.Name, o.Batch, o.Kind, o.List, string(first[:])} {
		fmt.Fprintf(h, "%d:%s", len(s), s)
	}
	copy(id[:], h.Sum(nil))
	return rows, id, err
}

// unpack undoes gzip and a byte order mark, and returns the first bytes without
// consuming them.
func unpack(r io.Reader) (*bufio.Reader, []byte, error) {
	in := bufio.NewReaderSize(r, fingerprint)
	if magic, err := in.Peek(2); err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, nil, fmt.Errorf("unpacking gzip: %w", err)
		}
		in = bufio.NewReaderSize(intact{z}, fingerprint)
	}
	if mark, err := in.Peek(3); err == nil && string(mark) == "\xef\xbb\xbf" {
		if _, err := in.Discard(3); err != nil {
			return nil, nil, err
		}
	}
	head, err := in.Peek(fingerprint)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	if len(head) > 1 && (string(head[:2]) == "\xff\xfe" || string(head[:2]) == "\xfe\xff") {
		return nil, nil, fmt.Errorf("%w: it is in UTF-16, save it as UTF-8", ErrFormat)
	}
	return in, head, nil
}

// intact says of what gzip cannot unpack that the file is to blame, not the way
// it came.
type intact struct{ z *gzip.Reader }

// Read implements [io.Reader].
func (i intact) Read(p []byte) (int, error) {
	n, err := i.z.Read(p)
	_, corrupt := errors.AsType[flate.CorruptInputError](err)
	if corrupt || errors.Is(err, gzip.ErrChecksum) || errors.Is(err, gzip.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return n, err
}

func detect(name string, head []byte) string {
	name = strings.TrimSuffix(strings.ToLower(name), ".gz")
	switch {
	case strings.HasSuffix(name, ".csv"):
		return FormatCSV
	case strings.HasSuffix(name, ".jsonl"), strings.HasSuffix(name, ".ndjson"):
		return FormatJSONL
	case bytes.HasPrefix(bytes.TrimSpace(head), []byte("{")):
		return FormatJSONL
	default:
		return FormatCSV
	}
}

// lines reads lines of bounded length and keeps a sum over them.
type lines struct {
	in     *bufio.Reader
	buf    []byte
	count  uint64
	crc    uint32
	length int64
}

// next returns a line without its end, valid until the next call.
func (l *lines) next() ([]byte, error) {
	l.buf = l.buf[:0]
	for {
		part, err := l.in.ReadSlice('\n')
		l.crc = crc32.Update(l.crc, crc32.MakeTable(crc32.Castagnoli), part)
		l.length += int64(len(part))
		if err == nil && len(l.buf) == 0 {
			l.count++
			return cutEnd(part), nil
		}
		if len(l.buf)+len(part) > maxRow {
			return nil, fmt.Errorf("%w: row %d is longer than 1 MiB", ErrFormat, l.count+1)
		}
		l.buf = append(l.buf, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && !errors.Is(err, io.EOF):
			return nil, fmt.Errorf("reading the file behind line %d: %w", l.count, err)
		case err != nil && len(l.buf) == 0:
			return nil, io.EOF
		}
		l.count++
		return cutEnd(l.buf), nil
	}
}

// cutEnd removes \n or \r\n, and a \r at the end of the file.
func cutEnd(line []byte) []byte {
	line = bytes.TrimSuffix(line, []byte{'\n'})
	return bytes.TrimSuffix(line, []byte{'\r'})
}

func (l *lines) sum() uint32 { return l.crc }
func (l *lines) read() int64 { return l.length }

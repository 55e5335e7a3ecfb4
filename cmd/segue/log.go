// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
)

// newLogger writes a log from which secrets and, at info and above, addresses
// are gone, whatever the code that logs was thinking.
func newLogger(w io.Writer, level string, asJSON bool) (*slog.Logger, error) {
	var least slog.Level
	if err := least.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("reading log.level: %w", err)
	}
	options := &slog.HandlerOptions{Level: least}
	var h slog.Handler = slog.NewTextHandler(w, options)
	if asJSON {
		h = slog.NewJSONHandler(w, options)
	}
	// A local part is anything that is not a delimiter, or quoted; %40 is @ in a URL.
	address := regexp.MustCompile(`("(?:[^"\\]|\\.)*"|[^\s"<>()\[\],:;@/?&]+)(?:@|%40)([^\s"<>()\[\],:;@/?&]+)`)
	return slog.New(redactor{Handler: h, address: address}), nil
}

// redacted stands where a secret was.
const redacted = "[redacted]"

// redactor is a handler that passes records on without what may not be in a log.
type redactor struct {
	slog.Handler
	address *regexp.Regexp
}

// Handle implements [slog.Handler].
func (r redactor) Handle(ctx context.Context, rec slog.Record) error {
	open := rec.Level < slog.LevelInfo // addresses may be read
	out := slog.NewRecord(rec.Time, rec.Level, r.text(rec.Message, open), rec.PC)
	rec.Attrs(func(a slog.Attr) bool {
		out.AddAttrs(r.attr(a, open))
		return true
	})
	return r.Handler.Handle(ctx, out)
}

// WithAttrs implements [slog.Handler]. The level is not known yet: no addresses.
func (r redactor) WithAttrs(list []slog.Attr) slog.Handler {
	out := make([]slog.Attr, len(list))
	for i, a := range list {
		out[i] = r.attr(a, false)
	}
	return redactor{Handler: r.Handler.WithAttrs(out), address: r.address}
}

// WithGroup implements [slog.Handler].
func (r redactor) WithGroup(name string) slog.Handler {
	return redactor{Handler: r.Handler.WithGroup(name), address: r.address}
}

func (r redactor) attr(a slog.Attr, open bool) slog.Attr {
	if secret(a.Key) {
		return slog.String(a.Key, redacted)
	}
	v := a.Value.Resolve()
	switch v.Kind() {
	case slog.KindString:
		return slog.String(a.Key, r.text(v.String(), open))
	case slog.KindGroup:
		list := v.Group()
		out := make([]slog.Attr, len(list))
		for i := range list {
			out[i] = r.attr(list[i], open)
		}
		return slog.Attr{Key: a.Key, Value: slog.GroupValue(out...)}
	case slog.KindAny:
		return r.any(a.Key, v, open)
	default:
		return slog.Attr{Key: a.Key, Value: v}
	}
}

// any redacts a value by how it prints.
func (r redactor) any(key string, v slog.Value, open bool) slog.Attr {
	var text string
	switch x := v.Any().(type) {
	case error:
		return slog.String(key, r.text(x.Error(), open))
	case []byte:
		return slog.String(key, r.text(string(x), open))
	default:
		text = fmt.Sprintf("%+v", x)
	}
	if clear := r.text(text, open); clear != text {
		return slog.String(key, clear)
	}
	return slog.Attr{Key: key, Value: v}
}

// secret reports whether a key names something that never is in a log.
func secret(key string) bool {
	key = strings.ToLower(key)
	for _, s := range []string{"password", "passwd", "token", "secret", "authorization"} {
		if strings.Contains(key, s) {
			return true
		}
	}
	return false
}

// text takes addresses out: the domain stays, whose mailbox it is does not.
func (r redactor) text(s string, open bool) string {
	if open || !strings.Contains(s, "@") && !strings.Contains(s, "%40") {
		return s
	}
	return r.address.ReplaceAllString(s, "[address]@$2")
}

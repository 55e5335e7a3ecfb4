// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// logged is what a log line of every shape that a value can take looks like.
func logged(t *testing.T, level slog.Level, asJSON bool) string {
	t.Helper()
	var b strings.Builder
	log, err := newLogger(&b, "debug", asJSON)
	if err != nil {
		t.Fatal(err)
	}
	const who = "jane.doe+x@example.test"
	log = log.With(slog.String("component", "queue"), slog.String("with", who), slog.String("api_token", "s3cret"))
	log.WithGroup("g").Log(t.Context(), level, "hello "+who,
		slog.String("plain", "to <"+who+"> or \"odd one\"@example.test"),
		slog.Any("error", fmt.Errorf("sending: %w", errors.New("550 <"+who+"> unknown"))),
		slog.Group("inner", slog.String("deep", who), slog.String("Password", "s3cret"), slog.Int("count", 7)), //nolint:sloglint // others write keys so
		slog.Any("list", []string{who, "x"}),
		slog.Any("bytes", []byte(who)),
		slog.Any("struct", struct{ Address string }{who}),
		slog.Any("valuer", valuer(who)),
		slog.String("url", "/api/v1/contacts/jane.doe%2Bx%40example.test/x"),
		slog.String("verp", "b+jane.doe=example.test@bounce.example"),
		slog.String("Authorization", "Bearer s3cret"), //nolint:sloglint // others write keys so
		slog.String("secret_key", "s3cret"), slog.Any("token", []byte("s3cret")),
		slog.String("quiet", "a @ b, 5 @ 3"), slog.Any("numbers", []int{1, 2}),
	)
	return b.String()
}

type valuer string

func (v valuer) LogValue() slog.Value { return slog.StringValue(string(v)) }

// TestLogHoldsNoSecrets: nobody's mailbox at info and above, nobody's secret at
// any level.
func TestLogHoldsNoSecrets(t *testing.T) {
	t.Parallel()
	for _, asJSON := range []bool{false, true} {
		for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
			text := logged(t, level, asJSON)
			if strings.Contains(text, "s3cret") {
				t.Errorf("json=%v %v: a secret is in the log: %s", asJSON, level, text)
			}
			for _, kept := range []string{"example.test", "component", "queue", "550", "7", "a @ b, 5 @ 3", "hello"} {
				if !strings.Contains(text, kept) {
					t.Errorf("json=%v %v: %q is not in the log: %s", asJSON, level, kept, text)
				}
			}
			for _, part := range []string{"jane", "odd one"} {
				if level >= slog.LevelInfo && strings.Contains(text, part) {
					t.Errorf("json=%v %v: %q is in the log: %s", asJSON, level, part, text)
				}
				if level < slog.LevelInfo && !strings.Contains(text, part) {
					t.Errorf("json=%v %v: debugging does not show %q: %s", asJSON, level, part, text)
				}
			}
		}
	}
}

func TestLogLevel(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	log, err := newLogger(&b, "warn", false)
	if err != nil {
		t.Fatal(err)
	}
	log.Info("quiet")
	log.Warn("loud")
	if strings.Contains(b.String(), "quiet") || !strings.Contains(b.String(), "loud") {
		t.Errorf("got %q", b.String())
	}
	if _, err := newLogger(&b, "noisy", false); err == nil {
		t.Error("an unknown level was taken")
	}
}

// FuzzRedaction: whatever surrounds an address, its local part is not in the log.
func FuzzRedaction(f *testing.F) {
	f.Add("to <", ">")
	f.Add(`"a" `, `, "b"`)
	f.Add("x@y ", "%40z")
	f.Add("\x00\xff", "@")
	var b strings.Builder
	log, err := newLogger(&b, "info", true)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, before, after string) {
		const who = "qqvictimqq"
		if strings.Contains(before, `"`) != strings.Contains(before, `" `) || strings.Contains(before+after, "qqv") {
			return
		}
		b.Reset()
		log.Info("x", slog.String("a", before+" "+who+"@example.test "+after))
		if strings.Contains(b.String(), who) {
			t.Errorf("%q is in %s", who, b.String())
		}
	})
}

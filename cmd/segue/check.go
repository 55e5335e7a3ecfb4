// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"golang.org/x/term"

	"github.com/seguemta/segue/config"
	"github.com/seguemta/segue/mta"
	"github.com/seguemta/segue/mta/submit"
	"github.com/seguemta/segue/mta/track"
)

type checkCmd struct {
	Config   string `placeholder:"FILE" help:"The configuration."`
	Hash     bool   `help:"Read a password and print the password_hash of a credential instead."`
	WriteKey bool   `help:"Make a write key of the tracking API, and print it and its key_hash instead."`
}

// Run prints every problem of a configuration.
func (c *checkCmd) Run(a *app) error {
	switch {
	case c.Hash && c.Config != "", c.WriteKey && c.Config != "", c.Hash && c.WriteKey:
		return errors.New("--config, --hash and --write-key are different things: give one")
	case c.Hash:
		return hash(a)
	case c.WriteKey:
		key := track.NewKey()
		return errors.Join(a.say("write key: %s", key), a.say("key_hash = %q", track.HashKey(key)))
	case c.Config == "":
		return errors.New("which configuration? give --config FILE")
	}
	_, problems := load(c.Config)
	for _, p := range problems {
		if err := a.say("%s", p.String()); err != nil {
			return err
		}
	}
	bad, warnings := count(problems)
	if bad > 0 {
		return fmt.Errorf("%s is not valid: %s", c.Config, tally(bad, warnings))
	}
	if warnings > 0 {
		return a.say("%s is valid (%s)", c.Config, plural(warnings, "warning"))
	}
	return a.say("%s is valid", c.Config)
}

// load reads a configuration and checks the whole of it.
func load(path string) (*config.Config, []config.Problem) {
	c, problems := config.Load(path)
	known := make(map[string]bool) // a key that is wrong already is not looked at twice
	for _, p := range problems {
		known[p.Key] = known[p.Key] || !p.Warning
	}
	more := slices.DeleteFunc(mta.Check(c), func(p config.Problem) bool { return known[p.Key] })
	return c, c.Sort(append(problems, more...))
}

func count(problems []config.Problem) (bad, warnings int) {
	for _, p := range problems {
		if p.Warning {
			warnings++
		} else {
			bad++
		}
	}
	return bad, warnings
}

func tally(bad, warnings int) string {
	if warnings == 0 {
		return plural(bad, "error")
	}
	return plural(bad, "error") + ", " + plural(warnings, "warning")
}

// maxPassword bounds a password, in octets.
const maxPassword = 1 << 10

// hash reads a password and prints what a configuration keeps of it.
func hash(a *app) error {
	password, err := readPassword(a)
	if err != nil {
		return err
	}
	switch {
	case len(password) == 0:
		return errors.New("the password is empty")
	case len(password) > maxPassword:
		return fmt.Errorf("the password is over %d octets", maxPassword)
	}
	return a.say("%s", submit.HashPassword(password))
}

// readPassword asks twice on a terminal, without showing it, and otherwise
// takes the first line.
func readPassword(a *app) ([]byte, error) {
	f, ok := a.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		line, err := bufio.NewReader(io.LimitReader(a.in, maxPassword+2)).ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("reading the password: %w", err)
		}
		return bytes.TrimRight(line, "\r\n"), nil
	}
	var typed [2][]byte
	for i, prompt := range []string{"password: ", "again: "} {
		_, _ = io.WriteString(a.errors, prompt) // the answer goes to stdout alone
		var err error
		typed[i], err = term.ReadPassword(int(f.Fd()))
		_, _ = io.WriteString(a.errors, "\n")
		if err != nil {
			return nil, fmt.Errorf("reading the password: %w", err)
		}
	}
	if !bytes.Equal(typed[0], typed[1]) {
		return nil, errors.New("the two passwords are not the same")
	}
	return typed[0], nil
}

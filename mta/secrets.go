// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/seguemta/segue/mta/verp"
)

// Files of the secrets directory. They are made at first start and belong into
// every backup: without token.keys feedback about mail under way is not
// understood, without suppression.key the suppression list is lost.
const (
	tokenFile       = "token.keys"
	suppressionFile = "suppression.key"
)

// secrets are the keys that an installation makes for itself.
type secrets struct {
	tokens      *verp.Ring
	suppression []byte
}

// openSecrets is loadSecrets with a word for who started segue as root first, or points data_dir where the
// unit does not let it write.
func openSecrets(dir string) (*secrets, error) {
	s, err := loadSecrets(dir)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return nil, fmt.Errorf("%w (secrets_dir, data_dir and all in them must belong to the user that segue runs as; under systemd, "+
			"other places than /var/lib/segue need ReadWritePaths=)", err)
	}
	return s, err
}

func loadSecrets(dir string) (*secrets, error) {
	if err := makeDir(dir); err != nil {
		return nil, fmt.Errorf("making the secrets directory: %w", err)
	}
	var s secrets
	text, err := readOrMake(filepath.Join(dir, tokenFile), func() ([]byte, error) {
		ring, err := verp.Generate(rand.Reader)
		if err != nil {
			return nil, err
		}
		return ring.Text(), nil
	})
	if err != nil {
		return nil, err
	}
	if s.tokens, err = verp.ParseRing(text); err != nil {
		return nil, fmt.Errorf("reading %s: %w", filepath.Join(dir, tokenFile), err)
	}
	text, err = readOrMake(filepath.Join(dir, suppressionFile), func() ([]byte, error) {
		key := make([]byte, 32)
		if _, err := rand.Read(key); err != nil {
			return nil, err
		}
		return []byte(hex.EncodeToString(key) + "\n"), nil
	})
	if err != nil {
		return nil, err
	}
	if s.suppression, err = hex.DecodeString(strings.TrimSpace(string(text))); err != nil || len(s.suppression) != 32 {
		return nil, fmt.Errorf("reading %s: it must hold 64 hexadecimal digits; restore it from a backup", filepath.Join(dir, suppressionFile))
	}
	return &s, nil
}

// makeDir makes a directory and its parents where there are none. Each is synced
// into the one above: a power cut that takes a new directory takes the keys in it,
// which by then have signed mail.
func makeDir(dir string) error {
	switch _, err := os.Stat(dir); {
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	above := filepath.Dir(dir)
	if err := makeDir(above); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(above)
}

// readOrMake reads a file, or makes it where there is none.
func readOrMake(path string, content func() ([]byte, error)) ([]byte, error) {
	text, err := os.ReadFile(path) //nolint:gosec // a fixed name below secrets_dir
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return text, err
	}
	if text, err = content(); err != nil {
		return nil, fmt.Errorf("making %s: %w", path, err)
	}
	return text, writeFile(path, text)
}

// writeFile replaces a file: written aside, synced, then named, so that no crash leaves
// half a key.
func writeFile(path string, text []byte) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) //nolint:gosec // a fixed name below secrets_dir
	if err != nil {
		return fmt.Errorf("making %s: %w", path, err)
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("making %s: %w", path, err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("making %s: %w", path, err)
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // secrets_dir
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the reference and the wanted messages")

// wantMark begins each line, at the end of a bad file, that holds one message
// as `segue check` prints it.
const wantMark = "# want: "

// TestBadFiles loads each file under testdata/bad and compares the problems
// with those that the file itself says it has.
func TestBadFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.toml")
	if err != nil || len(files) < 60 {
		t.Fatalf("found %d bad files: %v", len(files), err)
	}
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".toml"), func(t *testing.T) {
			t.Chdir(filepath.Join(root, "testdata/bad"))
			checkBad(t, filepath.Base(file))
		})
	}
}

func checkBad(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	body, want, _ := bytes.Cut(text, []byte(wantMark))
	_, problems := Load(file)
	var got strings.Builder
	for _, p := range problems {
		got.WriteString(wantMark + p.String() + "\n")
	}
	if *update {
		if err := os.WriteFile(file, append(body, got.String()...), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if len(want) == 0 {
		t.Fatal("says nothing about what is wrong with it")
	}
	if wanted := wantMark + string(want); got.String() != wanted {
		t.Errorf("problems are:\n%swanted:\n%s", got.String(), wanted)
	}
}

// TestGoodFiles loads each file under testdata/good, which must be without any
// problem, warnings included.
func TestGoodFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/good/*.toml")
	if err != nil || len(files) == 0 {
		t.Fatalf("found %d good files: %v", len(files), err)
	}
	for _, file := range files {
		_, problems := Load(file)
		for _, p := range problems {
			t.Error(p)
		}
	}
}

// TestExample holds deploy/segue.example.toml to its promise: nothing is wrong
// with it, and it shows every table that there is.
func TestExample(t *testing.T) {
	c, problems := Load("../deploy/segue.example.toml")
	for _, p := range problems {
		t.Error(p)
	}
	everyKey(reflect.TypeFor[Config](), "", func(list []string) {
		for key := range c.index.places {
			if plain(key) == strings.Join(list, ".") {
				return
			}
		}
		t.Errorf("the example does not show %s", strings.Join(list, "."))
	})
}

// everyKey calls fn with the path of each key of a table and of those in it.
func everyKey(t reflect.Type, path string, fn func([]string)) {
	for _, f := range fieldsOf(t) {
		key := join(path, f.key)
		ft := t.FieldByIndex(f.index).Type
		switch {
		case f.isList:
			everyKey(ft.Elem(), key, fn)
		case f.isTable:
			everyKey(ft, key, fn)
		default:
			fn([]string{key})
		}
	}
}

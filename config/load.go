// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// maxFile bounds a configuration file: a path given by mistake (a database, a
// device) is an error and not memory.
const maxFile = 16 << 20

// Load reads the configuration at path and the files that it includes, fills
// in the defaults, and checks everything that the text alone tells. It reports
// all problems at once, in the order of files and lines. The Config is never
// nil, but it is only worth using when [Failed] says that the problems are
// warnings.
func Load(path string) (*Config, []Problem) {
	d := newDecoder()
	if !d.read(path) {
		return d.config, d.problems
	}
	sound := true
	for _, file := range d.included(path) {
		sound = d.read(file) && sound
	}
	return d.finish(sound)
}

// Parse is [Load] for one file whose text is at hand. Name stands in the
// problems; relative paths in the text start at its directory. The text may not
// include other files.
func Parse(name string, text []byte) (*Config, []Problem) {
	d := newDecoder()
	if !d.decode(name, text) {
		return d.config, d.problems
	}
	if d.config.Include != "" {
		d.problems = append(d.problems, d.config.Problem("include", "is not possible here", "a text that is no file includes nothing"))
	}
	return d.finish(true)
}

func newDecoder() *decoder {
	c := &Config{index: newIndex()}
	setDefaults(reflect.ValueOf(c).Elem())
	return &decoder{config: c, elements: make(map[string]int)}
}

// read decodes one file; false means that it could not be read as TOML.
func (d *decoder) read(path string) bool {
	text, err := readFile(path)
	if err != nil {
		d.config.index.files = append(d.config.index.files, path)
		d.problems = append(d.problems, Problem{File: path, Text: "cannot be read: " + reason(err)})
		return false
	}
	return d.decode(path, text)
}

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	if info.Size() > maxFile {
		return nil, errors.New("it is larger than 16 MiB")
	}
	return os.ReadFile(path) //nolint:gosec // the operator names the file
}

// reason returns an error without the path that the problem names anyway.
func reason(err error) string {
	if pathError := (*os.PathError)(nil); errors.As(err, &pathError) {
		return pathError.Err.Error()
	}
	return err.Error()
}

// decode assigns the text of one file to the configuration.
func (d *decoder) decode(path string, text []byte) bool {
	d.file = path
	d.config.index.files = append(d.config.index.files, path)
	values := make(map[string]any)
	if _, err := toml.Decode(string(text), &values); err != nil {
		d.problems = append(d.problems, syntaxProblem(path, err))
		return false
	}
	if len(d.config.index.files) > 1 {
		if _, ok := values["include"]; ok {
			d.report(scan(string(text)).at("include"), "include", "stands in an included file", "only the main file includes")
			delete(values, "include")
		}
	}
	d.table(reflect.ValueOf(d.config).Elem(), values, scan(string(text)), "")
	return true
}

func syntaxProblem(path string, err error) Problem {
	p := Problem{File: path, Line: 1, Text: err.Error(), Hint: "see https://toml.io"}
	if bad := (toml.ParseError{}); errors.As(err, &bad) {
		p.Line, p.Text = max(bad.Position.Line, 1), bad.Message
	}
	p.Text = "is not TOML: " + strings.TrimSuffix(strings.Join(strings.Fields(p.Text), " "), ".")
	return p
}

// included returns the files that the main file includes.
func (d *decoder) included(path string) []string {
	pattern := d.config.Include
	if pattern == "" {
		return nil
	}
	if !filepath.IsAbs(pattern) {
		pattern = filepath.Join(filepath.Dir(path), pattern)
	}
	files, err := filepath.Glob(pattern)
	if err != nil {
		d.problems = append(d.problems, d.config.Problem("include",
			strconv.Quote(d.config.Include)+" is not a pattern", `write a pattern such as "conf.d/*.toml"`))
		return nil
	}
	if len(files) == 0 && !strings.ContainsAny(pattern, `*?[`) {
		d.problems = append(d.problems, d.config.Problem("include", "there is no file "+pattern, "a relative path starts at the file that includes"))
	}
	var others []string
	for _, file := range files {
		if filepath.Clean(file) != filepath.Clean(path) {
			others = append(others, file)
		}
	}
	return others
}

// news returns the problems about keys that no other problem is about yet: a
// value that was left out because it is wrong is not missing as well.
func (d *decoder) news(problems []Problem) []Problem {
	known := make(map[string]bool)
	for _, p := range d.problems {
		known[p.Key] = true
	}
	return slices.DeleteFunc(problems, func(p Problem) bool { return known[p.Key] })
}

// finish fills in what depends on other keys, and checks the whole. Where a
// file was left out there is no whole: what refers to it would look wrong.
func (d *decoder) finish(sound bool) (*Config, []Problem) {
	c := d.config
	c.fill()
	if sound {
		for _, f := range fieldsOf(reflect.TypeFor[Config]()) {
			if f.required && !c.IsSet(f.key) {
				d.problems = append(d.problems, c.Problem(f.key, "is missing", f.need))
			}
		}
		d.problems = append(d.problems, d.news(c.check())...)
	}
	return c, c.Sort(d.problems)
}

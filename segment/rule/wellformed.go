// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
	"unicode/utf8"
)

// check reports why an operand is not exactly one printable thing.
func (o *Operand) check() error {
	things := 0
	for _, is := range [...]bool{
		o.Attr != "", o.Events != nil, o.Bucket != "", o.Contacts != nil, o.Property != "",
		o.Now, o.Text != nil, o.Number != nil, o.Boolean != nil, o.Time != nil, len(o.Texts) > 0, len(o.Numbers) > 0,
	} {
		if is {
			things++
		}
	}
	if things != 1 {
		return fmt.Errorf("one side of a condition holds %d things, it needs 1", things)
	}
	if o.Topic != "" && o.Attr == "" || o.Offset != 0 && o.Attr == "" && !o.Now && o.Events == nil {
		return errors.New("a topic or an offset stands without what it belongs to")
	}
	if d := time.Duration(o.Offset); d > maxDuration || d < -maxDuration || d%time.Microsecond != 0 {
		return fmt.Errorf("the offset %s is not at most 36500d in whole microseconds", o.Offset)
	}
	if o.Attr != "" && !validReference(o.Attr) {
		return fmt.Errorf("%q is no name", shorten(o.Attr))
	}
	return o.checkLiterals()
}

// validReference reports whether a name is built in or could be declared.
func validReference(name string) bool {
	return slices.ContainsFunc(builtins(), func(b Attribute) bool { return b.Name == name }) || checkName(name) == nil
}

func (o *Operand) checkLiterals() error {
	texts := o.Texts
	if o.Text != nil {
		texts = []string{*o.Text}
	}
	for _, s := range texts {
		if !utf8.ValidString(s) {
			return errors.New("a text is not UTF-8")
		}
	}
	if !utf8.ValidString(o.Topic) {
		return errors.New("a topic is not UTF-8")
	}
	numbers := o.Numbers
	if o.Number != nil {
		numbers = []float64{*o.Number}
	}
	for _, n := range numbers {
		if math.IsNaN(n) || math.IsInf(n, 0) {
			return errors.New("a number is not finite")
		}
	}
	if o.Time != nil && (!representable(*o.Time) || o.Time.Nanosecond()%1000 != 0) {
		return errors.New("a time is outside the years 1 to 9999 or finer than a microsecond")
	}
	return nil
}

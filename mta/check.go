// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/seguemta/segue/config"
	"github.com/seguemta/segue/dkim"
	"github.com/seguemta/segue/segment"
	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/tier"
)

// Check finds what the text of a configuration alone does not tell: rules that
// do not compile, tiers that contradict each other, keys and certificates that
// cannot be read or are weak. The result goes with the problems of config.Load.
func Check(c *config.Config) []config.Problem {
	var list []config.Problem
	_, problems := keys(c)
	list = append(list, problems...)
	_, problems = tiers(c)
	list = append(list, problems...)
	schema, _, problems := rules(c)
	list = append(list, problems...)
	_, problems = scoring(c, schema)
	list = append(list, problems...)
	_, problems = writeKeys(c)
	list = append(list, problems...)
	list = append(list, checkBounceRules(c)...)
	list = append(list, checkThrottleRules(c)...)
	list = append(list, checkFiles(c)...)
	list = append(list, exposed(c)...)
	return c.Sort(list)
}

// exposed warns of secrets that every user of the machine can read.
func exposed(c *config.Config) []config.Problem {
	files := [][2]string{{"http.token_file", string(c.HTTP.TokenFile)}, {"public.key_file", string(c.Public.KeyFile)}}
	for i, l := range c.Listeners {
		files = append(files, [2]string{fmt.Sprintf("listener[%d].key_file", i), string(l.KeyFile)})
	}
	for _, d := range c.Domains {
		for _, k := range d.DKIM {
			files = append(files, [2]string{fmt.Sprintf("domain[%s].dkim[%s].key_file", d.Name, k.Selector), string(k.KeyFile)})
		}
	}
	for _, k := range c.WriteKeys {
		files = append(files, [2]string{"write_key[" + k.Name + "].key_file", string(k.KeyFile)})
	}
	var list []config.Problem
	for _, f := range files {
		if info, err := os.Stat(f[1]); err == nil && info.Mode().Perm()&0o004 != 0 { // what cannot be read has been told
			list = append(list, c.Warning(f[0], f[1]+" can be read by every user of this machine", "chmod o= "+f[1]))
		}
	}
	return list
}

// keys reads the signing keys of each domain.
func keys(c *config.Config) (map[string][]dkim.Key, []config.Problem) {
	out := make(map[string][]dkim.Key)
	var list []config.Problem
	for _, d := range c.Domains {
		for _, k := range d.DKIM {
			at := fmt.Sprintf("domain[%s].dkim[%s].key_file", d.Name, k.Selector)
			text, err := os.ReadFile(string(k.KeyFile))
			if err != nil {
				list = append(list, unreadable(c, at, err))
				continue
			}
			signer, info, err := dkim.ParseKey(text)
			if err != nil {
				list = append(list, c.Problem(at, err.Error(), "make one with openssl genrsa 2048"))
				continue
			}
			if info.Warning != "" {
				list = append(list, c.Warning(at, info.Warning, "make one with openssl genrsa 2048"))
			}
			out[d.Name] = append(out[d.Name], dkim.Key{Domain: d.Name, Selector: k.Selector, Signer: signer})
		}
	}
	return out, list
}

func unreadable(c *config.Config, key string, err error) config.Problem {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return c.Problem(key, fmt.Sprintf("%s cannot be read: %v", pe.Path, pe.Err), "the file must exist and be readable by the user that segue runs as")
	}
	return c.Problem(key, err.Error(), "")
}

// tiers applies the [[tier]] tables to the default rules.
func tiers(c *config.Config) (tier.Rules, []config.Problem) {
	rules := tier.Default()
	var list []config.Problem
	for _, t := range c.Tiers {
		at := "tier[" + t.Name + "]"
		var o tier.Override
		span := func(key string, d config.Duration) *time.Duration {
			if !c.IsSet(at + "." + key) {
				return nil
			}
			v := time.Duration(d)
			return &v
		}
		count := func(key string, n int) *int {
			if !c.IsSet(at + "." + key) {
				return nil
			}
			return &n
		}
		o.Within, o.Beyond = span("within", t.Within), span("beyond", t.Beyond)
		o.MinSends, o.MaxSends = count("min_sends", t.MinSends), count("max_sends", t.MaxSends)
		next, err := rules.Override(t.Name, o)
		if err != nil {
			list = append(list, c.Problem(at, err.Error(), ""))
			continue
		}
		rules = next
	}
	if err := rules.Validate(); err != nil && len(list) == 0 {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			list = append(list, c.Warning("tier", line, ""))
		}
	}
	return rules, list
}

// rules compiles the segments against the declared attributes.
func rules(c *config.Config) (*rule.Schema, []segment.Definition, []config.Problem) {
	var list []config.Problem
	attributes := make([]rule.Attribute, 0, len(c.Attributes))
	for _, a := range c.Attributes {
		t, err := rule.ParseType(string(a.Type))
		if err != nil {
			list = append(list, c.Problem("attribute["+a.Name+"].type", err.Error(), ""))
			continue
		}
		attributes = append(attributes, rule.Attribute{Name: a.Name, Type: t})
	}
	schema, err := rule.NewSchema(attributes)
	if err != nil {
		return nil, nil, append(list, c.Problem("attribute", err.Error(), ""))
	}
	definitions := make([]segment.Definition, len(c.Segments))
	asked := make([]rule.Definition, len(c.Segments)) // all at once: they may refer to each other
	for i, s := range c.Segments {
		definitions[i] = segment.Definition{Name: s.Name, Order: s.Order, Where: s.Where, Include: s.Include, Exclude: s.Exclude, Stage: s.Stage}
		if len(s.Include)+len(s.Exclude) > 0 {
			definitions[i].Version = segment.RuleVersion(fmt.Sprintf("%q %q %q", s.Where, s.Include, s.Exclude))
		}
		asked[i] = rule.Definition{Name: s.Name, Where: s.Where, Include: s.Include, Exclude: s.Exclude, Stage: s.Stage}
	}
	set := schema.CompileSet(asked)
	for i, s := range c.Segments {
		for _, f := range rule.Faults(set.Err(i)) {
			list = append(list, c.Problem("segment["+s.Name+"].where", place(f)+f.Text, f.Hint))
		}
		list = append(list, outlived(c, s.Name, set.Rule(i))...)
	}
	return schema, definitions, list
}

// outlived warns of a window that is longer than events are kept.
func outlived(c *config.Config, segment string, r *rule.Rule) []config.Problem {
	keep, window := c.Events.Retention, r.Window()
	if window <= keep.Std() {
		return nil
	}
	return []config.Problem{c.Warning("segment["+segment+"].where",
		fmt.Sprintf("it looks back %v, and events are kept for %v: a segment that is defined anew knows no older ones", rule.Duration(window), rule.Duration(keep)),
		"make [events] retention as long, or the window shorter")}
}

// place says where in a rule a fault is, which most rules need no line for.
func place(f *rule.Error) string {
	if f.Line > 1 {
		return fmt.Sprintf("line %d of the rule, column %d: ", f.Line, f.Column)
	}
	return fmt.Sprintf("column %d: ", f.Column)
}

// checkFiles reads certificates and the token.
func checkFiles(c *config.Config) []config.Problem {
	var list []config.Problem
	for i, l := range c.Listeners {
		if l.TLS != "" && l.TLS != config.TLSNone {
			list = append(list, checkCertificate(c, fmt.Sprintf("listener[%d]", i), l.CertFile, l.KeyFile)...)
		}
	}
	list = append(list, checkCertificate(c, "public", c.Public.CertFile, c.Public.KeyFile)...)
	if c.HTTP.TokenFile != "" {
		if text, err := os.ReadFile(string(c.HTTP.TokenFile)); err != nil {
			list = append(list, unreadable(c, "http.token_file", err))
		} else if len(strings.TrimSpace(string(text))) < 16 {
			list = append(list, c.Problem("http.token_file", "the token is shorter than 16 characters", "make one with openssl rand -hex 32"))
		}
	}
	return list
}

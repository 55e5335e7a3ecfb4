// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func load(t *testing.T, file string) *Config {
	t.Helper()
	c, problems := Load(file)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return c
}

// TestMinimalDefaults reads the least that sends mail and looks at what was
// filled in.
func TestMinimalDefaults(t *testing.T) {
	c := load(t, "testdata/good/minimal.toml")
	for _, x := range []struct {
		what      string
		got, want any
	}{
		{"secrets_dir", c.SecretsDir, Path("/var/lib/segue/secrets")},
		{"budget_zone", c.BudgetZone.Std(), time.UTC},
		{"shutdown_deadline", c.ShutdownDeadline.Std(), 30 * time.Second},
		{"queue.memtable_size", c.Queue.MemtableSize.Bytes(), int64(64 << 20)},
		{"delivery.pool", c.Delivery.Pool, "main"},
		{"delivery.port", c.Delivery.Port, 25},
		{"delivery.retry", fmt.Sprint(c.Delivery.Retry), "[5m 15m 30m 1h 2h 4h]"},
		{"http.address", c.HTTP.Address.String(), "127.0.0.1:8025"},
		{"http.token_file", c.HTTP.TokenFile, Path("testdata/good/token")},
		{"public.rate", c.Public.Rate.String(), "600/m"},
		{"suppression.half_life", c.Suppression.HalfLife.String(), "30d"},
		{"feedback_id", c.Domains[0].FeedbackID, "examplecom"},
		{"return_path", c.Domains[0].ReturnPath, "bounce.example.com"},
		{"source.hostname", c.Sources[0].Hostname, "mta1.mail.example.net"},
		{"pool.excess", c.Pools[0].Excess, Hold},
		{"member.weight", c.Pools[0].Members[0].Weight, 1},
		{"listener.tls", c.Listeners[0].TLS, TLSNone},
		{"listener.max_connections_per_address", c.Listeners[0].MaxConnectionsPerAddress, 100},
		{"listener.idle_timeout", c.Listeners[0].IdleTimeout.Std(), 5 * time.Minute},
		{"listener.max_size", c.Listeners[0].MaxSize.Bytes(), int64(25e6)},
		{"streams", fmt.Sprint(c.Streams), "[{transactional  32 1d} {marketing  0 7d}]"},
	} {
		if x.got != x.want {
			t.Errorf("%s is %v, wanted %v", x.what, x.got, x.want)
		}
	}
}

// TestForms reads one document written in every way that TOML knows.
func TestForms(t *testing.T) {
	c := load(t, "testdata/good/forms.toml")
	if c.HTTP.TokenFile != "/etc/segue/token" || c.Delivery.Port != 2525 || len(c.Delivery.Retry) != 2 || len(c.Listeners) != 2 {
		t.Errorf("%+v", c)
	}
	stages := c.Plans[0].Stages
	if stages[0].NewShare != DefaultNewShare || stages[1].NewShare != 0 || stages[0].PerDay["mail.example"] != 16 {
		t.Errorf("%+v", stages)
	}
	if file, line := c.Position("delivery.retry[1]"); file != "testdata/good/forms.toml" || line != 8 {
		t.Errorf("the second delay is at %s:%d", file, line)
	}
}

// TestPosition looks up keys in two files, given and left out.
func TestPosition(t *testing.T) {
	c := load(t, "testdata/good/include.toml")
	const rest = "testdata/good/conf.d/20-rest.toml"
	for key, want := range map[string]string{
		"hostname":                                "testdata/good/include.toml:2",
		"data_dir":                                "testdata/good/include.toml:1",
		"delivery.port":                           "testdata/good/conf.d/10-pools.toml:2",
		"source[a1].name":                         "testdata/good/include.toml:7",
		"source[a1].plan":                         "testdata/good/include.toml:6",
		"source[a2]":                              rest + ":1",
		"pool[main].member[a2].source":            "testdata/good/conf.d/10-pools.toml:9",
		"pool[main].member[a2].weight":            "testdata/good/conf.d/10-pools.toml:8",
		"domain[example.com].dkim[s1].key_file":   rest + ":8",
		"domain[example.com].dkim[nothing].x.y.z": rest + ":6",
		"no such thing":                           "testdata/good/include.toml:1",
	} {
		if file, line := c.Position(key); fmt.Sprintf("%s:%d", file, line) != want {
			t.Errorf("%s is at %s:%d, wanted %s", key, file, line, want)
		}
	}
	if key := c.Domains[0].DKIM[0].KeyFile; key != "testdata/good/conf.d/keys/s1.pem" {
		t.Errorf("the key is %s, not beside the file that names it", key)
	}
	if !c.IsSet("delivery.port") || c.IsSet("delivery.jitter") {
		t.Error("cannot tell what was set")
	}
	if file, line := new(Config).Position("hostname"); file != "" || line != 0 {
		t.Errorf("a Config that was not loaded has positions: %s:%d", file, line)
	}
}

// TestExampleValues reads the example as package mta will.
func TestExampleValues(t *testing.T) {
	c := load(t, "../deploy/segue.example.toml")
	stage := c.Plans[0].Stages[0]
	if stage.PerDay[PerDayTotal] != 1000 || stage.PerDay["google"] != 100 || c.Plans[0].Stages[3].PerDay[PerDayOther] != 10000 {
		t.Errorf("%+v", stage)
	}
	if w := c.Plans[0].Window; w.From != 8*time.Hour || w.Until != 20*time.Hour {
		t.Errorf("%+v", w)
	}
	if p := c.Providers[0]; p.Rate.PerSecond() != 100 || p.TotalConnections != 20 {
		t.Errorf("%+v", p)
	}
	var got []string
	for _, x := range c.Tiers {
		got = append(got, x.Name+":"+x.Pool)
	}
	if want := "dead: active:prime warm: cooling: new:prime dormant:reengage"; strings.Join(got, " ") != want {
		t.Errorf("tiers are %q, wanted %q", got, want)
	}
}

func TestUnreadableFiles(t *testing.T) {
	dir := t.TempDir()
	big := filepath.Join(dir, "big.toml")
	if err := os.WriteFile(big, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(big, maxFile+1); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		filepath.Join(dir, "none.toml"): "cannot be read: no such file or directory",
		dir:                             "cannot be read: it is not a regular file",
		big:                             "cannot be read: it is larger than 16 MiB",
	} {
		c, problems := Load(file)
		if c == nil || len(problems) != 1 || problems[0].String() != file+": "+want || !Failed(problems) {
			t.Errorf("%s: %v", file, problems)
		}
	}
}

func TestParseIncludesNothing(t *testing.T) {
	_, problems := Parse("x.toml", []byte("include = \"*.toml\"\n"))
	if !slices.ContainsFunc(problems, func(p Problem) bool { return p.Key == "include" && !p.Warning }) {
		t.Error(problems)
	}
}

// TestFillable compares what is said about tiers that nobody can be in with
// asking every history of a small world, whose tiers are written out again as
// the reference words them.
func TestFillable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := &Config{}
		c.fillTiers()
		for i := range c.Tiers {
			x, age := &c.Tiers[i], Duration(time.Duration(rapid.IntRange(1, 6).Draw(t, "limit"))*day)
			sends := rapid.IntRange(0, 4).Draw(t, "limit of sends")
			if x.silence() {
				x.Beyond, x.MinSends = age, sends
			} else {
				x.Within, x.MaxSends = age, sends
			}
		}
		found := make(map[string]bool)
		for days := range 8 {
			for sends := range 6 {
				for _, engaged := range []bool{true, false} {
					h := history{engaged, Duration(time.Duration(days) * day), sends}
					name := slowTier(c, h)
					found[name] = true
					if got := c.tierOf(h); got != name {
						t.Fatalf("%+v is %s, wanted %s", h, got, name)
					}
				}
			}
		}
		for _, name := range TierOrder() {
			if c.fillable(name) != found[name] {
				t.Fatalf("tier %s: somebody can be in it: %v, found one: %v", name, c.fillable(name), found[name])
			}
		}
	})
}

// slowTier is the order of the tiers, spelt out.
func slowTier(c *Config, h history) string {
	get := func(name string) Tier {
		return c.Tiers[slices.IndexFunc(c.Tiers, func(x Tier) bool { return x.Name == name })]
	}
	few := func(name string) bool { return get(name).MaxSends == 0 || h.sends <= get(name).MaxSends }
	recent := func(name string) bool { return h.engaged && h.age <= get(name).Within && few(name) }
	silent := func(name string) bool { return h.age > get(name).Beyond && h.sends >= get(name).MinSends }
	if silent(TierDead) {
		return TierDead
	}
	for _, name := range []string{TierActive, TierWarm, TierCooling} {
		if recent(name) {
			return name
		}
	}
	if neverMailed := h.sends == 0; !h.engaged && few(TierNew) && (neverMailed || h.age <= get(TierNew).Within) {
		return TierNew
	}
	if silent(TierDormant) {
		return TierDormant
	}
	return TierCooling
}

// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seguemta/segue/config"
	"github.com/seguemta/segue/segment/tier"
)

// rsaPEM is an RSA key of a size, also of sizes that crypto/rsa does not make any more.
func rsaPEM(t *testing.T, bits int) string {
	t.Helper()
	for {
		p, err := rand.Prime(rand.Reader, bits/2)
		if err != nil {
			t.Fatal(err)
		}
		q, err := rand.Prime(rand.Reader, bits-bits/2)
		if err != nil {
			t.Fatal(err)
		}
		n := new(big.Int).Mul(p, q)
		one := big.NewInt(1)
		phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
		d := new(big.Int).ModInverse(big.NewInt(65537), phi)
		if n.BitLen() != bits || d == nil || p.Cmp(q) == 0 {
			continue
		}
		key := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: n, E: 65537}, D: d, Primes: []*big.Int{p, q}}
		key.Precompute()
		return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	}
}

// checkFixture is a configuration whose problems only the compiled half finds.
const checkFixture = `hostname = "mta1.mail.example.net"
[http]
address = "127.0.0.1:8025"
token_file = "token"
[[listener]]
purpose = "submission"
address = "127.0.0.1:2587"
tls = "starttls"
cert_file = "cert.pem"
key_file = "cert.key"
[[credential]]
name = "shop"
domains = ["example.com"]
[[domain]]
name = "example.com"
[[domain.dkim]]
selector = "missing"
key_file = "missing.pem"
[[domain.dkim]]
selector = "weak"
key_file = "weak.pem"
[[domain.dkim]]
selector = "small"
key_file = "small.pem"
[[domain.dkim]]
selector = "empty"
key_file = "empty.pem"
[[source]]
name = "a1"
[[pool]]
name = "standard"
[[pool.member]]
source = "a1"
[[attribute]]
name = "account.employees"
type = "number"
[[tier]]
name = "dead"
beyond = "100d"
[[segment]]
name = "typo"
where = 'account.employes > 50'
[[segment]]
name = "types"
where = 'account.employees == "many"'
[[segment]]
name = "fine"
where = 'account.employees > 50 && tier == "active"'
[[write_key]]
name = "app"
key_hash = "sha256:1a1d10acbdd22f7a8b3a1a0e4ab94cc8c6cc7b8cddfd8a0bcf4b7d3ae8b3bd75"
[[write_key]]
name = "gone"
key_file = "gone.key"
[[write_key]]
name = "short"
key_file = "token"
[[write_key]]
name = "twice"
key_hash = "sha256:1a1d10acbdd22f7a8b3a1a0e4ab94cc8c6cc7b8cddfd8a0bcf4b7d3ae8b3bd75"
[public]
address = ":8080"
url = "https://u.example.com"
`

func TestCheckFindsWhatTheTextDoesNotTell(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"segue.toml": checkFixture, "weak.pem": rsaPEM(t, 768), "small.pem": rsaPEM(t, 1024), "empty.pem": "nothing\n", "token": "short\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"token", "small.pem"} {
		if err := os.Chmod(filepath.Join(dir, name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "segue.toml")
	c, problems := config.Load(path)
	list := c.Sort(append(problems, Check(c)...))
	var got []string
	for _, p := range list {
		if !strings.Contains(p.String(), "password_hash") {
			got = append(got, strings.ReplaceAll(p.String(), dir+"/", ""))
		}
	}
	want := []string{
		"segue.toml:4: http.token_file: warning: token can be read by every user of this machine (chmod o= token)",
		"segue.toml:4: http.token_file: the token is shorter than 16 characters (make one with openssl rand -hex 32)",
		"segue.toml:9: listener[0].cert_file: cert.pem cannot be read: no such file or directory (the file must exist and be readable by the user that segue runs as)",
		"segue.toml:18: domain[example.com].dkim[missing].key_file: missing.pem cannot be read: no such file or directory (the file must exist and be readable by the user that segue runs as)",
		"segue.toml:21: domain[example.com].dkim[weak].key_file: ",
		"segue.toml:24: domain[example.com].dkim[small].key_file: warning: small.pem can be read by every user of this machine (chmod o= small.pem)",
		"segue.toml:24: domain[example.com].dkim[small].key_file: warning: ",
		"segue.toml:27: domain[example.com].dkim[empty].key_file: ",
		"segue.toml:37: tier",
		`segue.toml:42: segment[typo].where: column 1: `,
		`segue.toml:45: segment[types].where: column `,
		"segue.toml:54: write_key[gone].key_file: gone.key cannot be read: no such file or directory (",
		"segue.toml:57: write_key[short].key_file: warning: token can be read by every user of this machine (chmod o= token)",
		"segue.toml:57: write_key[short].key_file: the key is shorter than 16 characters (make one with segue check --write-key)",
		`segue.toml:60: write_key[twice].key_hash: is the key of write_key "app" (`,
	}
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Errorf("missing: %s", want[i])
		case i >= len(want):
			t.Errorf("unexpected: %s", got[i])
		case !strings.HasPrefix(got[i], want[i]):
			t.Errorf("problem %d is\n  %s\nwant\n  %s", i, got[i], want[i])
		}
	}
	t.Log("\n" + strings.Join(got, "\n"))
}

// TestCheckOfSegments holds that a fault in a rule of several lines is found there,
// and that lists belong to what a segment is.
func TestCheckOfSegments(t *testing.T) {
	c, problems := config.Parse("segue.toml", []byte(`
[[segment]]
name = "long"
where = """
tier == "active" &&
  scroe > 3
"""
[[segment]]
name = "nameless"
where = "false"
include = [""]
[[segment]]
name = "piped"
where = "false"
exclude = ["a|b"]
[[segment]]
name = "beta"
where = "false"
include = ["beta"]
exclude = ["staff"]
[[segment]]
name = "nobody"
where = "false"
`))
	var got []string
	for _, p := range append(problems, Check(c)...) {
		if strings.HasPrefix(p.Key, "segment") {
			got = append(got, p.String())
		}
	}
	want := []string{
		`segue.toml:11: segment[nameless].include[0]: is empty (leave it out)`,
		`segue.toml:15: segment[piped].exclude[0]: "a|b" has a | or a control character (no list has such a name)`,
		`segue.toml:4: segment[long].where: line 2 of the rule, column 3: unknown name scroe (did you mean score?)`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("problems are\n%s\nwanted\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	_, list, _ := rules(c)
	beta, nobody := list[3], list[4]
	if !slices.Equal(beta.Include, []string{"beta"}) || !slices.Equal(beta.Exclude, []string{"staff"}) || beta.Version == nobody.Version {
		t.Errorf("beta is %+v, nobody is %+v", beta, nobody)
	}
}

// The defaults of the file and those of the rules are written in two places,
// since neither package may know the other.
func TestCheckTiersHaveOneDefault(t *testing.T) {
	c, _ := config.Parse("segue.toml", []byte(strings.ReplaceAll(checkFixture, "beyond = \"100d\"\n", "")))
	rules := tier.Default()
	for _, x := range c.Tiers {
		tr, err := tier.Parse(x.Name)
		if err != nil {
			t.Fatal(err)
		}
		r := rules.Rule(tr)
		most := uint32(x.MaxSends)
		if x.MaxSends == 0 {
			most = tier.NoLimit
		}
		if r.Within != x.Within.Std() || r.Beyond != x.Beyond.Std() || r.MinSends != uint32(x.MinSends) || r.MaxSends != most {
			t.Errorf("tier %s: the file says %+v, the rules %+v", x.Name, x, r)
		}
	}
}

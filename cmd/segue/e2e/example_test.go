// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// example writes deploy/segue.example.toml with its paths turned to the world's
// directory, and the files that it names.
func (w *world) example() string {
	w.t.Helper()
	text, err := os.ReadFile(top + "/deploy/segue.example.toml")
	if err != nil {
		w.t.Fatal(err)
	}
	cert, key := certificate(w.t, "192.0.2.9")
	w.write("tls/cert.pem", cert)
	w.write("tls/key.pem", key)
	w.write("website.key", "vh3Fz8kQm1xYw7Lr2TgBn5Pd\n")
	w.write("bounce.txt", "")
	w.write("throttle.txt", "")
	w.write("dkim/s2026.pem", signingKey(w.t))
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		w.t.Fatal(err)
	}
	w.write("dkim/e2026.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	return strings.NewReplacer("/etc/segue", w.dir, "/var/lib/segue", w.dir+"/data").Replace(string(text))
}

func TestTheExampleConfigurationIsValid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	file := w.write("example.toml", w.example())
	stdout, stderr, code := w.segue("check", "--config", file)
	if code != 0 || stderr != "" {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	t.Logf("%s", stdout)
}

func TestEveryMistakeInAConfigurationIsSaidAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	text := w.example()
	for _, change := range [][2]string{
		{`purpose = "feedback"`, `purpose = "feedbak"`},
		{`budget_zone = "UTC"`, `budget_zone = "Mars"`},
		{`source = "t1"`, `source = "t2"`},
		{`max_size = "25MB"`, `maximum_size = "25MB"`},
		{`where = 'contact.status == "trial" &&`, `where = 'contact.sttus == "trial" &&`},
		{w.dir + `/dkim/e2026.pem`, w.dir + `/dkim/missing.pem`},
	} {
		if !strings.Contains(text, change[0]) {
			t.Fatalf("the example has no %s", change[0])
		}
		text = strings.Replace(text, change[0], change[1], 1)
	}
	file := w.write("broken.toml", text)
	stdout, stderr, code := w.segue("check", "--config", file)
	if code != 1 {
		t.Errorf("exit %d, not 1", code)
	}
	got := strings.NewReplacer(file, "FILE", w.dir, "DIR").Replace(stdout + stderr)
	if want := atLines(t, strings.ReplaceAll(broken, "DIRMARK", w.dir), text); got != want {
		t.Errorf("segue check said\n%s\nwanted\n%s", got, want)
	}
}

// atLines puts the number of the line that begins with a text for each <text>, of
// the line above it for each <^text>.
func atLines(t *testing.T, want, file string) string {
	t.Helper()
	return regexp.MustCompile(`<[^>]*>`).ReplaceAllStringFunc(want, func(mark string) string {
		begin, above := strings.CutPrefix(mark[1:len(mark)-1], "^")
		n := slices.IndexFunc(strings.Split(file, "\n"), func(line string) bool { return strings.HasPrefix(line, begin) })
		if n < 0 {
			t.Errorf("no line begins with %s", begin)
		}
		if above {
			return strconv.Itoa(n)
		}
		return strconv.Itoa(n + 1)
	})
}

// broken is what the test above expects, each line number as <how the line begins>.
const broken = `FILE:<budget_zone>: budget_zone: "Mars" is not a time zone known here (write a name such as "UTC" or "Europe/Berlin")
FILE:<maximum_size>: listener[0].maximum_size: unknown key (did you mean "max_size"?)
FILE:<purpose = "feedbak">: listener[2].purpose: "feedbak" is not one of submission, feedback (did you mean "feedback"?)
FILE:<key_file = "DIRMARK/dkim/missing>: domain[example.com].dkim[e2026].key_file: DIR/dkim/missing.pem cannot be read: no such file or directory (the file must exist and be readable by the user that segue runs as)
FILE:<^name = "t1">: source[t1]: warning: is in no pool: nothing leaves through it (name it in a [[pool.member]])
FILE:<source = "t2">: pool[transactional].member[t2].source: there is no source "t2" (did you mean "t1"?)
FILE:<where = 'contact.sttus>: segment[high-value-trial].where: column 1: unknown attribute contact.sttus (did you mean contact.status?)
segue: FILE is not valid: 6 errors, 1 warning
`

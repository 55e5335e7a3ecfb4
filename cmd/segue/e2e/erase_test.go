// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seguemta/segue/mta/api"
)

// What names ann; it looks like nothing else.
const (
	annsMark    = "q7zx0vkj4tbwn9lr"
	annsAddress = "ann." + annsMark + "@dest.example"
	annsStatus  = "k3rb9xqw0zjv7ntl"
)

// tracks sends an event of ann over the tracking API.
func (w *world) tracks(key, id string) string {
	w.t.Helper()
	body := `{"userId":"u-ann","messageId":"` + id + `","event":"Signed In","context":{"traits":{"email":"` + annsAddress + `"}}}`
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, "http://"+w.ip(1)+":"+httpPort+"/v1/track", strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.SetBasicAuth(key, "")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(resp.Body); err != nil {
		w.t.Fatal(err)
	}
	return resp.Status + " " + text.String()
}

// inFiles is which files of the contacts' store hold one of some texts.
func (w *world) inFiles(texts ...string) (list []string) {
	w.t.Helper()
	files, err := filepath.Glob(filepath.Join(w.dir, "data", "contacts", "*"))
	if err != nil || len(files) == 0 {
		w.t.Fatal(files, err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			w.t.Fatal(err)
		}
		for _, s := range texts {
			if bytes.Contains(text, []byte(s)) {
				list = append(list, filepath.Base(f)+" holds "+s)
			}
		}
	}
	return list
}

// TestEraseOfSomebodyWhoIsKnown imports, tracks, mails and queues mail for a contact,
// erases it, ends the engine hard, and then tries to bring it back.
func TestEraseOfSomebodyWhoIsKnown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.writeKey("shop")
	w.more += "[[attribute]]\nname = \"contact.status\"\ntype = \"text\"\n[[segment]]\nname = \"some\"\norder = 1\nwhere = 'contact.status != \"\"'\n"
	w.exchanger(5, []string{"dest.example"})
	w.start()
	rows := w.write("people.csv", "email,user_id,contact.status\n"+annsAddress+",u-ann,"+annsStatus+"\nbob@dest.example,u-bob,trial\n")
	w.must("contact", "import", rows)
	if said := w.tracks(key, "m1"); !strings.HasPrefix(said, "200 ") {
		t.Fatal(said)
	}
	w.submit("", annsAddress)
	w.empty()
	queued := w.submit(later(), annsAddress, "bob@dest.example")
	wait(t, "the delivery to be known", func() bool {
		c, err := w.api.Contact(t.Context(), annsAddress)
		return err == nil && c.Sends == 1 && c.Queued == 1
	})
	if n := len(w.inFiles(annsMark, annsStatus)); n == 0 {
		t.Fatal("nothing of her is in the files before")
	}
	if _, stderr, code := w.segue("contact", "erase", annsAddress); code == 0 || !strings.Contains(stderr, "--yes") {
		t.Errorf("without --yes: %d, %s", code, stderr)
	}
	var r api.Erased
	if err := json.Unmarshal([]byte(w.must("contact", "erase", "u-ann", "--yes", "--json")), &r); err != nil {
		t.Fatal(err)
	}
	if c := r.Counts; c.Contacts != 1 || c.Mail != 1 || c.Events < 2 || c.Identities != 1 || c.Segments != 1 || r.Files != "done" {
		t.Errorf("receipt %+v", r)
	}
	wait(t, "old files to be removed", func() bool { return len(w.inFiles(annsMark, annsStatus)) == 0 })
	w.kill()
	said := w.log.String()
	w.start()

	if got := w.suppressions(annsAddress); got != " erased all" {
		t.Errorf("suppressions: %q", got)
	}
	out := w.must("suppression", "ls") + w.must("events", "tail", "-n", "1000") + w.must("queue", "show", queued+".0") + w.must("queue", "why", queued+".0") + w.must("contact", "export", "-")
	if strings.Contains(out, annsMark) || !strings.Contains(out, "#"+r.Hash) || !strings.Contains(out, "dropped") || !strings.Contains(out, "bob@dest.example") {
		t.Errorf("operators see\n%s", out)
	}
	if _, stderr, code := w.segue("contact", "import", w.write("again.csv", "email,contact.status\n"+annsAddress+","+annsStatus+"\n"), "--json"); code != 0 {
		t.Errorf("import again: %s", stderr)
	}
	if said := w.tracks(key, "m2"); !strings.Contains(said, "erased") {
		t.Errorf("the tracking API answers %s", said)
	}
	w.submit("", annsAddress, "bob@dest.example")
	wait(t, "the mail of another", func() bool { return w.summary().Waiting == 1 && w.metric("segue_recipients_total") > 0 })
	if _, stderr, code := w.segue("contact", "show", annsAddress); code == 0 || !strings.Contains(stderr, "no contact has") {
		t.Errorf("she is back: %s", stderr)
	}
	w.must("suppression", "lift", annsAddress)
	if out := w.must("contact", "import", w.write("back.csv", "email\n"+annsAddress+"\n")); !strings.Contains(out, "1 created") {
		t.Errorf("let in again: %s", out)
	}
	w.stop()
	if said += w.log.String(); strings.Contains(said, annsMark) {
		t.Errorf("the log names her:\n%s", said)
	}
	w.verify()
}

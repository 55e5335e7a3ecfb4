// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/seguemta/segue/mta/api"
)

// exporting writes rows without end until its context ends, or fails after the first.
type exporting struct {
	fake
	fails error
	began chan struct{} // closed when a first row is out
}

func (e *exporting) ExportContacts(ctx context.Context, _ api.Export, to io.Writer) (api.Exported, error) {
	if _, err := io.WriteString(to, strings.Repeat("a@x.test\n", 10_000)); err != nil {
		return api.Exported{}, err
	}
	if e.fails != nil {
		return api.Exported{}, e.fails
	}
	close(e.began)
	for ctx.Err() == nil {
		if _, err := io.WriteString(to, "a@x.test\n"); err != nil {
			return api.Exported{}, err
		}
	}
	return api.Exported{}, ctx.Err()
}

func TestExportSaysWhatItIs(t *testing.T) {
	t.Parallel()
	base := serve(t, Options{Methods: &fake{}})
	for query, want := range map[string]string{
		"": "text/csv", "?format=csv": "text/csv", "?format=jsonl": "application/x-ndjson", "?format=jsonl&gzip=true": "application/gzip",
	} {
		got := ask(t, request{url: base + "/api/v1/contacts/export" + query})
		if got.status != http.StatusOK || got.header.Get("Content-Type") != want || got.header.Get("Content-Disposition") != "attachment" || got.body != "email\na@x.test\n" {
			t.Errorf("%q: %+v", query, got)
		}
	}
}

// TestExportCutOff: what is not the whole cannot be taken for it.
func TestExportCutOff(t *testing.T) {
	t.Parallel()
	c := client(t, serve(t, Options{Methods: &exporting{fails: errors.New("the disk is gone")}}), "")
	var text strings.Builder
	_, err := c.ExportContacts(t.Context(), api.Export{}, &text)
	if err == nil || !strings.Contains(err.Error(), "the export was cut off") || strings.Contains(err.Error(), "disk") {
		t.Errorf("after %d octets: %v", text.Len(), err)
	}
}

// TestExportEndsWithTheServer: a long export does not hold up a stop.
func TestExportEndsWithTheServer(t *testing.T) {
	t.Parallel()
	e := &exporting{began: make(chan struct{})}
	srv := httptest.NewUnstartedServer(nil)
	srv.Config = NewServer(New(Options{Methods: e}), nil)
	srv.Start()
	defer srv.Close()
	ended := make(chan error, 1)
	c := client(t, srv.URL, "")
	go func() {
		_, err := c.ExportContacts(context.Background(), api.Export{}, io.Discard)
		ended <- err
	}()
	<-e.began
	if err := srv.Config.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("an export that was cut off passed for a whole one")
	}
}

// TestExportKeepsStrangersOut: who has no token gets nothing.
func TestExportKeepsStrangersOut(t *testing.T) {
	t.Parallel()
	base := serve(t, Options{Methods: &fake{}, Token: token})
	if got := ask(t, request{url: base + "/api/v1/contacts/export"}); got.status != http.StatusUnauthorized || strings.Contains(got.body, "@") {
		t.Errorf("without a token: %+v", got)
	}
}

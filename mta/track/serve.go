// SPDX-License-Identifier: Apache-2.0

package track

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/seguemta/segue/mta/api"
)

// server is the handler.
type server struct {
	o       Options
	keys    keyring
	metrics *metrics
	memory  *budget
	small   chan struct{} // turns to be parsed and applied
	large   chan struct{}
	said    atomic.Int64 // when the log last heard of a store that fails
}

// visit is one request on its way.
type visit struct {
	*server
	w     http.ResponseWriter
	hold  hold
	since time.Time // from when on the client waits for us
}

// kindOf is what a path says, and whether it is one of ours. The short paths are the
// browser library's: the first letter of the kind, and b for a batch, whose events say
// their own kind.
func kindOf(path string) (kind Kind, batch, ok bool) {
	switch path {
	case "/v1/batch", "/v1/b":
		return "", true, true
	case "/v1/identify", "/v1/i":
		kind = Identify
	case "/v1/track", "/v1/t":
		kind = Track
	case "/v1/page", "/v1/p":
		kind = Page
	case "/v1/screen", "/v1/s":
		kind = Screen
	case "/v1/group", "/v1/g":
		kind = Group
	case "/v1/alias", "/v1/a":
		kind = Alias
	}
	return kind, false, kind != ""
}

// ServeHTTP implements http.Handler.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v := &visit{server: s, w: w, hold: hold{of: s.memory}, since: time.Now()}
	defer v.hold.release()
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*") // the key is all there is to check, and a page has it
	h.Set("Access-Control-Expose-Headers", "Retry-After, X-RateLimit-Reset")
	kind, batch, ok := kindOf(r.URL.Path)
	switch {
	case !ok:
		v.fail(api.Problem(http.StatusNotFound, "no such endpoint", "the tracking API has /v1/identify, track, page, screen, group, alias and batch"))
	case r.Method == http.MethodOptions:
		h.Set("Access-Control-Allow-Methods", http.MethodPost)
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Content-Encoding")
		h.Set("Access-Control-Max-Age", "86400")
		w.WriteHeader(http.StatusNoContent)
	case r.Method != http.MethodPost:
		h.Set("Allow", "POST, OPTIONS")
		v.fail(api.Problem(http.StatusMethodNotAllowed, "method not allowed", "this endpoint takes POST"))
	default:
		list, err := v.serve(r, kind, batch)
		if err != nil {
			v.fail(err)
			return
		}
		v.succeed(list)
	}
}

// serve applies the events of a request, and returns those it did not.
func (v *visit) serve(r *http.Request, kind Kind, batch bool) ([]rejection, error) {
	key, _, _ := r.BasicAuth()
	if key != "" && v.keys.find(key) == nil {
		return nil, unauthorized()
	}
	if err := v.o.Room(); err != nil {
		return nil, busy(err.Error())
	}
	text, err := v.hold.readBody(r)
	v.since = time.Now()
	if errors.Is(err, errFull) {
		return nil, busy(err.Error())
	}
	if err != nil {
		return nil, err
	}
	done, err := v.turn(r.Context(), len(text))
	if err != nil {
		return nil, err
	}
	defer done()
	req, err := decode(text, batch)
	if err != nil {
		return nil, refused("invalid JSON", err.Error())
	}
	if key == "" {
		key, _ = req.writeKey.(string)
	}
	w := v.keys.find(key)
	if w == nil {
		return nil, unauthorized()
	}
	shared, _ := req.context.(map[string]any)
	return v.apply(r.Context(), w, req.items, &batchOf{key: w.name, kind: kind, received: v.o.Now(), sentAt: req.sentAt, context: shared})
}

// turn waits until a body may be parsed.
func (v *visit) turn(ctx context.Context, size int) (done func(), err error) {
	turns := v.small
	if size > maxEvent {
		turns = v.large
	}
	timer := time.NewTimer(turnTimeout)
	defer timer.Stop()
	select {
	case turns <- struct{}{}:
		return func() { <-turns }, nil
	case <-timer.C:
		return nil, busy("other requests took longer than " + turnTimeout.String())
	case <-ctx.Done():
		return nil, busy(ctx.Err().Error())
	}
}

// apply checks events and has the good ones applied.
func (v *visit) apply(ctx context.Context, w *writer, items []item, b *batchOf) ([]rejection, error) {
	calls, at := make([]Call, 0, len(items)), make([]int, 0, len(items))
	kinds := make([]Kind, len(items))
	list := []rejection{}
	for i, it := range items {
		c, fault := b.call(it)
		kinds[i] = c.Kind
		if fault != nil {
			list = append(list, faulty(i, it, fault))
			continue
		}
		calls, at = append(calls, c), append(at, i)
	}
	if wait := w.take(len(items), time.Now()); wait > 0 {
		v.count(kinds, nil, limited)
		return nil, tooMany(w.name, wait)
	}
	if len(calls) > 0 {
		errs, err := v.o.Ingester.Ingest(ctx, calls)
		if err != nil {
			v.count(kinds, nil, failed)
			return nil, v.unstored(err)
		}
		for i, err := range errs {
			if err != nil {
				list = append(list, refusedBy(at[i], &calls[i], err))
			}
		}
	}
	v.count(kinds, list, accepted)
	return list, nil
}

// unstored is the answer where the Ingester failed.
func (v *visit) unstored(err error) error {
	if errors.Is(err, context.Canceled) {
		return busy("the request was cut off")
	}
	v.say(err)
	return busy("the engine's log says why")
}

// count counts the events of a request: those of the list as rejected.
func (v *visit) count(kinds []Kind, list []rejection, others string) {
	results := make([]string, len(kinds))
	for _, r := range list {
		results[r.Index] = rejected
	}
	for i, kind := range kinds {
		v.metrics.count(kind, cmp.Or(results[i], others))
	}
}

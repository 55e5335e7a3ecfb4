// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/seguemta/segue/mta/event"
)

// ErrUnreachable is wrapped by errors of a [Client] that got no answer.
var ErrUnreachable = errors.New("engine not reachable")

// ErrNoEngine is wrapped by errors of a [Client] that got an answer which no
// engine gives: something else listens there.
var ErrNoEngine = errors.New("not an engine")

// Limits of a Client: an engine answers at once, or is not well. Imports and
// exports take as long as their rows and end with the caller's context.
const (
	dialTimeout = 5 * time.Second
	callTimeout = 60 * time.Second
	maxProblem  = 64 << 10 // octets of an error's body that are read
)

// Client is Methods over HTTP. It may be used by several goroutines.
type Client struct {
	base  string // without a slash at the end
	token string
	http  *http.Client
}

var _ Methods = (*Client)(nil)

// NewClient returns a client of the engine at addr, host:port or a URL (https
// where a proxy ends TLS; its path is a prefix). Token is "" where the engine has none.
// Nothing is sent yet. Redirects are not followed: they would carry the token away.
func NewClient(addr, token string) (*Client, error) {
	base := addr
	if !strings.Contains(addr, "://") {
		base = "http://" + addr
	}
	u, err := url.Parse(base)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.RawQuery != "" || u.User != nil {
		return nil, fmt.Errorf("%q is not the address of an engine: give host:port or a URL", addr)
	}
	if !strings.Contains(addr, "://") && u.Port() == "" {
		return nil, fmt.Errorf("%q is not the address of an engine: the port is missing", addr)
	}
	return &Client{
		base:  strings.TrimRight(base, "/"),
		token: token,
		http: &http.Client{
			Transport: &http.Transport{
				Proxy:               http.ProxyFromEnvironment,
				DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
				TLSHandshakeTimeout: dialTimeout,
				ForceAttemptHTTP2:   true,
				MaxIdleConnsPerHost: 16,
				IdleConnTimeout:     callTimeout,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// call is one request.
type call struct {
	method, path string
	query        url.Values
	json         any       // body, nil = none
	stream       io.Reader // body that is not JSON, nil = none
	mediaType    string    // of stream
	out          any       // where the answer goes, nil = there is none
	download     *download // where an answer that is not JSON goes, nil = nowhere
	also         int       // a status beside 2xx that carries an answer
}

// do sends a request and reads the answer.
func (c *Client) do(ctx context.Context, k call) error {
	if k.stream == nil && k.download == nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, callTimeout)
		defer cancel()
	}
	req, err := c.request(ctx, k)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return ctx.Err()
		}
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err // without the URL, which names addresses
		}
		return fmt.Errorf("%w at %s: %w", ErrUnreachable, c.base, err)
	}
	defer resp.Body.Close()
	return c.answer(resp, k)
}

func (c *Client) request(ctx context.Context, k call) (*http.Request, error) {
	target := c.base + k.path
	if len(k.query) > 0 {
		target += "?" + k.query.Encode()
	}
	body, mediaType := k.stream, k.mediaType
	if k.json != nil {
		text, err := json.Marshal(k.json)
		if err != nil {
			return nil, fmt.Errorf("writing a request: %w", err)
		}
		body, mediaType = bytes.NewReader(text), "application/json"
	}
	req, err := http.NewRequestWithContext(ctx, k.method, target, body)
	if err != nil {
		return nil, fmt.Errorf("writing a request: %w", err)
	}
	accept := "application/json, application/problem+json"
	if k.download != nil {
		accept = "*/*"
	}
	req.Header.Set("Accept", accept)
	if body != nil {
		req.Header.Set("Content-Type", mediaType)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	return req, nil
}

func (c *Client) answer(resp *http.Response, k call) error {
	mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if mediaType == "application/problem+json" || (resp.StatusCode/100 != 2 && resp.StatusCode != k.also) {
		return c.problem(resp, mediaType)
	}
	if k.download != nil {
		return k.download.take(resp, mediaType, c.base)
	}
	if k.out == nil {
		if resp.StatusCode != http.StatusNoContent {
			return fmt.Errorf("%w: %s answered %q, expected 204", ErrNoEngine, c.base, resp.Status)
		}
		return nil
	}
	if mediaType != "application/json" {
		return fmt.Errorf("%w: %s answered %q with %q", ErrNoEngine, c.base, resp.Status, mediaType)
	}
	if err := json.NewDecoder(resp.Body).Decode(k.out); err != nil {
		return fmt.Errorf("reading the answer of %s: %w", c.base, err)
	}
	return nil
}

// problem turns an answer that is none into an Error.
func (c *Client) problem(resp *http.Response, mediaType string) error {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	var e Error
	if mediaType == "application/problem+json" && json.Unmarshal(text, &e) == nil && e.Title != "" {
		e.Status = resp.StatusCode
		return &e
	}
	// A proxy in between, or something else than an engine.
	return fmt.Errorf("%w: %s answered %q", ErrNoEngine, c.base, resp.Status)
}

// fetch sends a request whose answer is a T.
func fetch[T any](ctx context.Context, c *Client, k call) (T, error) {
	var out T
	k.out = &out
	err := c.do(ctx, k)
	return out, err
}

func get[T any](ctx context.Context, c *Client, path string, query url.Values) (T, error) {
	return fetch[T](ctx, c, call{method: http.MethodGet, path: path, query: query})
}

func (c *Client) post(ctx context.Context, path string, in any) error {
	return c.do(ctx, call{method: http.MethodPost, path: path, json: in})
}

// Health implements [Methods]. An engine that is not ready is no error.
func (c *Client) Health(ctx context.Context) (Health, error) {
	return fetch[Health](ctx, c, call{method: http.MethodGet, path: "/readyz", also: http.StatusServiceUnavailable})
}

// Queue implements [Methods].
func (c *Client) Queue(ctx context.Context, q QueueQuery) (QueueList, error) {
	return get[QueueList](ctx, c, "/api/v1/queue", q.Values())
}

// QueueSummary implements [Methods].
func (c *Client) QueueSummary(ctx context.Context) (QueueSummary, error) {
	return get[QueueSummary](ctx, c, "/api/v1/queue/summary", nil)
}

// QueueShow implements [Methods].
func (c *Client) QueueShow(ctx context.Context, id string) (QueueDetail, error) {
	if err := CheckID(id); err != nil {
		return QueueDetail{}, err
	}
	return get[QueueDetail](ctx, c, "/api/v1/queue/"+url.PathEscape(id), nil)
}

// QueueWhy implements [Methods].
func (c *Client) QueueWhy(ctx context.Context, id string) (Why, error) {
	if err := CheckID(id); err != nil {
		return Why{}, err
	}
	return get[Why](ctx, c, "/api/v1/queue/"+url.PathEscape(id)+"/why", nil)
}

// QueueAct implements [Methods].
func (c *Client) QueueAct(ctx context.Context, act QueueAct) (QueueActed, error) {
	return fetch[QueueActed](ctx, c, call{method: http.MethodPost, path: "/api/v1/queue/act", json: act})
}

// Contact implements [Methods].
func (c *Client) Contact(ctx context.Context, address string) (Contact, error) {
	path, err := named("/api/v1/contacts/", address)
	if err != nil {
		return Contact{}, err
	}
	return get[Contact](ctx, c, path, nil)
}

// EraseContact implements [Methods].
func (c *Client) EraseContact(ctx context.Context, who Erase) (Erased, error) {
	return fetch[Erased](ctx, c, call{method: http.MethodPost, path: "/api/v1/contacts/erase", json: who})
}

// Pools implements [Methods].
func (c *Client) Pools(ctx context.Context) ([]Pool, error) {
	return get[[]Pool](ctx, c, "/api/v1/pools", nil)
}

// Clock implements [Methods].
func (c *Client) Clock(ctx context.Context) (Clock, error) {
	return get[Clock](ctx, c, "/api/v1/clock", nil)
}

// ConfirmClock implements [Methods].
func (c *Client) ConfirmClock(ctx context.Context) error {
	return c.post(ctx, "/api/v1/clock/confirm", nil)
}

// Sources implements [Methods].
func (c *Client) Sources(ctx context.Context) ([]Source, error) {
	return get[[]Source](ctx, c, "/api/v1/sources", nil)
}

// Source implements [Methods].
func (c *Client) Source(ctx context.Context, name string) (Source, error) {
	path, err := named("/api/v1/sources/", name)
	if err != nil {
		return Source{}, err
	}
	return get[Source](ctx, c, path, nil)
}

// PauseSource implements [Methods].
func (c *Client) PauseSource(ctx context.Context, p Pause) error {
	path, err := named("/api/v1/sources/", p.Source)
	if err != nil {
		return err
	}
	if p.Until.IsZero() {
		return c.post(ctx, path+"/resume", p)
	}
	return c.post(ctx, path+"/pause", p)
}

// Warmup implements [Methods].
func (c *Client) Warmup(ctx context.Context) ([]Warmup, error) {
	return get[[]Warmup](ctx, c, "/api/v1/warmup", nil)
}

// SteerWarmup implements [Methods].
func (c *Client) SteerWarmup(ctx context.Context, act WarmupAct) error {
	return c.post(ctx, "/api/v1/warmup", act)
}

// AddEvidence implements [Methods].
func (c *Client) AddEvidence(ctx context.Context, rows Evidence) (EvidenceAdded, error) {
	return fetch[EvidenceAdded](ctx, c, call{method: http.MethodPost, path: "/api/v1/evidence", json: rows})
}

// Suppressions implements [Methods].
func (c *Client) Suppressions(ctx context.Context, q SuppressionQuery) ([]Suppression, error) {
	v := make(url.Values)
	setParam(v, "address", q.Address)
	if q.Limit != 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	return get[[]Suppression](ctx, c, "/api/v1/suppressions", v)
}

// Suppress implements [Methods].
func (c *Client) Suppress(ctx context.Context, s Suppression) error {
	return c.post(ctx, "/api/v1/suppressions", s)
}

// Lift implements [Methods]. Address, scope, source and evidence count.
func (c *Client) Lift(ctx context.Context, s Suppression) error {
	v := make(url.Values)
	setParam(v, "address", s.Address)
	setParam(v, "scope", s.Scope)
	setParam(v, "source", s.Source)
	setParam(v, "evidence", s.Evidence)
	return c.do(ctx, call{method: http.MethodDelete, path: "/api/v1/suppressions", query: v})
}

// Events implements [Methods].
func (c *Client) Events(ctx context.Context, after uint64, limit int) ([]event.Event, error) {
	v := url.Values{"after": {strconv.FormatUint(after, 10)}}
	if limit != 0 {
		v.Set("limit", strconv.Itoa(limit))
	}
	return get[[]event.Event](ctx, c, "/api/v1/events", v)
}

// Submit implements [Methods].
func (c *Client) Submit(ctx context.Context, m Message) (Submitted, error) {
	return fetch[Submitted](ctx, c, call{method: http.MethodPost, path: "/api/v1/messages", json: m})
}

// named is the path of one thing. An empty name would ask for the list, and
// dots would leave the path.
func named(prefix, name string) (string, error) {
	if name == "" || name == "." || name == ".." {
		return "", badParameter("name", name, "a name")
	}
	return prefix + url.PathEscape(name), nil
}

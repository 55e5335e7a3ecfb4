// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seguemta/segue/mta/api"
)

// pipeListener hands out one end of one pipe.
type pipeListener struct {
	conns chan net.Conn
}

func (l *pipeListener) Accept() (net.Conn, error) {
	c, ok := <-l.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (l *pipeListener) Close() error   { return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// talk serves m on a pipe, inside a bubble, and returns its other end and what
// is answered there.
func talk(t *testing.T, m api.Methods) (net.Conn, *bufio.Reader) {
	t.Helper()
	ln := &pipeListener{conns: make(chan net.Conn, 1)}
	far, near := net.Pipe()
	ln.conns <- far
	srv := NewServer(New(Options{Methods: m}), nil)
	go srv.Serve(ln)
	t.Cleanup(func() {
		near.Close()
		close(ln.conns)
		srv.Close()
	})
	return near, bufio.NewReader(near)
}

func send(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

const actHead = "POST /api/v1/queue/act HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"

// TestSilentBody: a body that stops arriving is given up.
func TestSilentBody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conn, answers := talk(t, &fake{})
		start := time.Now()
		send(t, conn, actHead+`{"act`)
		resp, err := http.ReadResponse(answers, nil)
		if err != nil || resp.StatusCode != http.StatusRequestTimeout || time.Since(start) != readTimeout {
			t.Fatalf("%+v, %v after %s", resp, err, time.Since(start))
		}
		defer resp.Body.Close()
		if _, err := io.ReadAll(answers); err != nil || time.Since(start) > readTimeout+2*drainTimeout {
			t.Errorf("the connection ended after %s, %v", time.Since(start), err)
		}
	})
}

// TestSilentBodyOfAStranger: whoever is turned away is not waited for either.
func TestSilentBodyOfAStranger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conn, answers := talk(t, &fake{})
		start := time.Now()
		send(t, conn, strings.Replace(actHead, "localhost", "evil.test", 1))
		text, err := io.ReadAll(answers)
		if took := time.Since(start); err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 421") || took > 2*drainTimeout {
			t.Errorf("%.60q, %v after %s", text, err, took)
		}
	})
}

// TestDrippingBody: a body that arrives drop by drop is given up as well.
func TestDrippingBody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conn, answers := talk(t, &fake{})
		start := time.Now()
		var drip sync.WaitGroup
		drip.Go(func() {
			io.WriteString(conn, actHead)
			for {
				if _, err := io.WriteString(conn, " "); err != nil {
					return
				}
				time.Sleep(readTimeout - time.Second)
			}
		})
		resp, err := http.ReadResponse(answers, nil)
		if err != nil || resp.StatusCode != http.StatusRequestTimeout {
			t.Fatalf("%+v, %v", resp, err)
		}
		defer resp.Body.Close()
		took := time.Since(start)
		conn.Close()
		drip.Wait()
		if took < bodyTimeout || took > bodyTimeout+readTimeout {
			t.Errorf("given up after %s", took)
		}
	})
}

// pondering takes long over each row, and reads them all.
type pondering struct{ fake }

func (p *pondering) ImportContacts(_ context.Context, _ api.Import, rows io.Reader) (api.Imported, error) {
	text, err := io.ReadAll(rows)
	time.Sleep(time.Hour)
	return api.Imported{Rows: int64(strings.Count(string(text), "\n"))}, err
}

// TestLongImport: rows that keep coming may take hours, and so may the engine:
// no deadline of a body outlives it.
func TestLongImport(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conn, answers := talk(t, &pondering{})
		const rows = 500
		go func() {
			io.WriteString(conn, "POST /api/v1/contacts/import?name=a.csv HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nContent-Length: 1000\r\n\r\n")
			for range rows {
				io.WriteString(conn, "a\n")
				time.Sleep(readTimeout - time.Second)
			}
		}()
		resp, err := http.ReadResponse(answers, nil)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%+v, %v", resp, err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil || !strings.Contains(string(text), `"rows":500`) {
			t.Errorf("%s, %v", text, err)
		}
	})
}

// TestSilentHead: a connection that asks nothing is closed.
func TestSilentHead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conn, answers := talk(t, &fake{})
		start := time.Now()
		send(t, conn, "GET /healthz HTTP/1.1\r\nHost: local")
		_, err := io.ReadAll(answers)
		if took := time.Since(start); err != nil || took > headerTimeout+time.Second {
			t.Errorf("closed after %s, %v", took, err)
		}
	})
}

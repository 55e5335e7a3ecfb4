// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/seguemta/segue/mta/httpapi"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"segue": main})
}

// TestScripts runs the conversations of testdata/script. An engine that gives
// fixed answers listens at $ENGINE and wants the token that $SEGUE_TOKEN is;
// $PORT is free for an engine that a script starts.
func TestScripts(t *testing.T) {
	t.Parallel()
	const token = "let-me-in"
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			srv := httptest.NewUnstartedServer(nil)
			srv.Config = httpapi.NewServer(httpapi.New(httpapi.Options{Methods: &engine{start: time.Now()}, Token: token}), nil)
			srv.Start()
			env.Defer(srv.Close)
			port, err := freePort()
			if err != nil {
				return err
			}
			env.Setenv("PORT", port)
			env.Setenv("ENGINE", srv.Listener.Addr().String())
			env.Setenv("SEGUE_ADDR", srv.Listener.Addr().String())
			env.Setenv("SEGUE_TOKEN", token)
			return nil
		},
	})
}

// freePort is a port that nobody listens on: released at once, and not given
// out again soon.
func freePort() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}

	_, port, err := net.SplitHostPort(ln.Addr().String())
	return port, errors.Join(err, ln.Close())
}

// TestEveryScriptIsAConversation: a script that runs nothing tests nothing.
func TestEveryScriptIsAConversation(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(files) < 5 {
		t.Fatalf("found %v, %v", files, err)
	}
}

// quiet is the outside world of a run inside the test.
func quiet(ctx context.Context) *app {
	return &app{ctx: ctx, in: os.Stdin, out: os.Stdout, errors: os.Stderr, now: time.Now}
}

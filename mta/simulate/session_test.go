// SPDX-License-Identifier: Apache-2.0

package simulate

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/seguemta/segue/mta/mtatest"
)

// moody decides by recipient or sender, and writes down what it took.
type moody struct{ took []string }

func (m *moody) mood(s string) Answer {
	local, _, _ := strings.Cut(s, "@")
	switch local {
	case "later", "later-cut":
		return Answer{Reply: "450 4.2.0 later", Cut: local == "later-cut"}
	case "slow":
		return Answer{Delay: time.Minute}
	case "cut":
		return Answer{Cut: true}
	}
	return Answer{}
}

func (m *moody) Mail(s *Session) Answer                 { return m.mood(s.Sender) }
func (m *moody) Rcpt(_ *Session, address string) Answer { return m.mood(address) }

func (m *moody) Data(s *Session) Answer {
	phase, mood, _ := strings.Cut(s.To[0], ".")
	if phase == "data" {
		return m.mood(mood)
	}
	return Answer{}
}

func (m *moody) Done(s *Session) Answer {
	phase, mood, _ := strings.Cut(s.To[0], ".")
	if phase == "done" {
		return m.mood(mood)
	}
	m.took = append(m.took, fmt.Sprintf("%s to %v, %d octets: %q", s.Sender, s.To, s.Size, s.Message))
	return Answer{}
}

// TestSessionTalks plays the conversations of testdata/session.
func TestSessionTalks(t *testing.T) {
	t.Parallel()
	datadriven.RunTest(t, "testdata/session", func(t *testing.T, d *datadriven.TestData) string {
		t.Helper()
		out := ""
		synctest.Test(t, func(t *testing.T) {
			here, there := net.Pipe()
			host := &moody{}
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				defer there.Close()
				s := &Session{Conn: there, Host: host, Name: "mx.test", Keep: true, Chunking: d.HasArg("chunking")}
				s.Serve(t.Context())
			}()
			began := time.Now()
			talk, err := mtatest.Conversation(here, d.Input, nil)
			here.Close()
			<-ended
			if err != nil {
				talk += err.Error() + "\n"
			}
			if took := time.Since(began); took > 0 {
				talk += fmt.Sprintf("after %s\n", took)
			}
			for _, m := range host.took {
				talk += "took " + m + "\n"
			}
			out = talk
		})
		return out
	})
}

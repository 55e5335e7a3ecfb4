// SPDX-License-Identifier: Apache-2.0

package submit

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// BenchmarkSubmit receives messages over loopback TCP into an admission that
// discards them. The client is as light as one can be, but its time is in the
// cpu figure, which is that of the process.
func BenchmarkSubmit(b *testing.B) {
	for _, conns := range []int{1, 50} {
		for _, size := range []int{2 << 10, 10 << 10, 100 << 10} {
			for _, verb := range []string{"DATA", "BDAT"} {
				b.Run(fmt.Sprintf("conns=%d/size=%dK/%s", conns, size>>10, verb), func(b *testing.B) {
					benchmark(b, conns, size, verb)
				})
			}
		}
	}
}

func benchmark(b *testing.B, conns, size int, verb string) {
	b.Helper()
	who, err := NewAccounts(AccountsOptions{})
	if err != nil {
		b.Fatal(err)
	}
	s, err := New(Options{
		Hostname: "mta1.example.net", Accounts: who, OwnDomain: func(string) bool { return true },
		Trust: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		Admit: func(context.Context, *Envelope) (string, error) { return "1", nil },
	})
	if err != nil {
		b.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, ln) }()

	body := []byte(strings.Repeat(strings.Repeat("x", 74)+"\r\n", size/76))
	flight := []byte("MAIL FROM:<news@example.com>\r\nRCPT TO:<anna@customer.example>\r\n")
	if verb == "BDAT" {
		flight = append(fmt.Appendf(flight, "BDAT %d LAST\r\n", len(body)), body...)
	} else {
		flight = append(flight, "DATA\r\n"...)
		body = append(body, ".\r\n"...)
	}
	var left atomic.Int64
	left.Store(int64(b.N))
	b.SetBytes(int64(size))
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu()
	var wg sync.WaitGroup
	for range conns {
		wg.Go(func() {
			c, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				b.Error(err)
				return
			}
			defer c.Close()
			r := bufio.NewReader(c)
			replies(r, 1)
			_, _ = io.WriteString(c, "EHLO x\r\n")
			replies(r, 1)
			for left.Add(-1) >= 0 {
				_, _ = c.Write(flight)
				if !replies(r, 3) {
					b.Error("a message was refused")
					return
				}
				if verb == "DATA" {
					_, _ = c.Write(body)
					replies(r, 1)
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-us/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	cancel()
	if err := <-ended; err != nil {
		b.Error(err)
	}
}

func replies(r *bufio.Reader, n int) bool {
	for n > 0 {
		line, err := r.ReadSlice('\n')
		if err != nil || bytes.IndexByte([]byte("23"), line[0]) < 0 {
			return false
		}
		if line[3] == ' ' {
			n--
		}
	}
	return true
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// SPDX-License-Identifier: Apache-2.0

package smtpclient_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/mta/smtpclient"
)

// sinkEnv makes this test binary a mail sink, so that the benchmark's CPU time
// is the client's alone.
const sinkEnv = "SMTPCLIENT_TEST_SINK"

func TestMain(m *testing.M) {
	if os.Getenv(sinkEnv) != "" {
		runSink()
		return
	}
	os.Exit(m.Run())
}

// runSink prints its address, then takes everything until its input ends.
func runSink() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Fprintln(os.Stdout, ln.Addr())
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go drain(c)
		}
	}()
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func drain(c net.Conn) {
	defer c.Close()
	br := bufio.NewReaderSize(c, 64<<10)
	out := []byte("220 sink\r\n")
	for {
		if br.Buffered() == 0 {
			if _, err := c.Write(out); err != nil {
				return
			}
			out = out[:0]
		}
		line, err := br.ReadSlice('\n')
		if err != nil {
			return
		}
		switch {
		case bytes.HasPrefix(line, []byte("EHLO")):
			out = append(out, "250-sink\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 SIZE 0\r\n"...)
		case bytes.HasPrefix(line, []byte("BDAT")):
			n, err := strconv.Atoi(strings.Fields(string(line))[1])
			if err != nil {
				return
			}
			if _, err := br.Discard(n); err != nil {
				return
			}
			out = append(out, "250 ok\r\n"...)
		case bytes.HasPrefix(line, []byte("DATA")):
			out = append(out, "354 go\r\n"...)
			if _, err := c.Write(out); err != nil {
				return
			}
			for string(line) != ".\r\n" {
				if line, err = br.ReadSlice('\n'); err != nil && len(line) == 0 {
					return
				}
			}
			out = append(out[:0], "250 ok\r\n"...)
		default:
			out = append(out, "250 ok\r\n"...)
		}
	}
}

func startSink(b *testing.B) netip.AddrPort {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), sinkEnv+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return netip.MustParseAddrPort(strings.TrimSpace(line))
}

func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkSend(b *testing.B) {
	for _, verb := range []string{"DATA", "BDAT"} {
		for _, size := range []int{2 << 10, 10 << 10, 100 << 10} {
			for _, reuse := range []bool{true, false} {
				b.Run(fmt.Sprintf("verb=%s/size=%dK/reuse=%t", verb, size>>10, reuse), func(b *testing.B) {
					benchmarkSend(b, size, reuse, verb == "BDAT")
				})
			}
		}
	}
}

func benchmarkSend(b *testing.B, size int, reuse, chunking bool) {
	b.Helper()
	remote := startSink(b)
	body := bytes.Repeat([]byte(strings.Repeat("x", 74)+"\r\n"), size/76)
	tx := &smtpclient.Transaction{
		From:  rfc5321.Address{Local: "b", Domain: "example.net"},
		To:    []rfc5321.Address{{Local: "a", Domain: "example.org"}},
		Parts: [][]byte{bytes.Repeat([]byte("DKIM-Signature: 0123456789\r\n"), 20), body},
	}
	opts := smtpclient.Options{Remote: remote, Host: "sink", Hello: "bench.example.net", NoChunking: !chunking}
	b.ReportAllocs()
	b.ResetTimer()
	begin := cpu(b)
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		var c *smtpclient.Conn
		for pb.Next() {
			if c == nil {
				var err error
				if c, err = smtpclient.Dial(b.Context(), opts); err != nil {
					b.Error(err)
					return
				}
			}
			if res := c.Send(b.Context(), tx); res.Err != nil || !res.Recipients[0].Delivered() {
				b.Errorf("%+v", res)
				return
			}
			if !reuse {
				c.Close()
				c = nil
			}
		}
		if c != nil {
			c.Close()
		}
	})
	b.ReportMetric(float64(cpu(b)-begin)/float64(time.Microsecond)/float64(b.N), "cpu-us/op")
}

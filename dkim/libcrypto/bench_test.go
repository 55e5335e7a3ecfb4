// SPDX-License-Identifier: Apache-2.0

package libcrypto

import (
	"crypto"
	"fmt"
	"syscall"
	"testing"
)

// BenchmarkSign has both backends in one run, so that the noise of the machine
// is the same for both. cpu-us/op is what to compare where others use the machine too.
func BenchmarkSign(b *testing.B) {
	l := open(b)
	for _, bits := range []int{1024, 2048, 4096} {
		key := newKey(b, bits)
		fast, err := l.Signer(key)
		if err != nil {
			b.Fatal(err)
		}
		for name, s := range map[string]crypto.Signer{Name: fast, GoName: key} {
			b.Run(fmt.Sprintf("rsa%d/%s/one", bits, name), func(b *testing.B) {
				b.ReportAllocs()
				began := cpu(b)
				for b.Loop() {
					sign(b, s, digest(1))
				}
				b.ReportMetric((cpu(b)-began)/float64(b.N), "cpu-us/op")
			})
			b.Run(fmt.Sprintf("rsa%d/%s/many", bits, name), func(b *testing.B) {
				b.SetParallelism(250) // goroutines for each processor, as connections are
				began := cpu(b)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						sign(b, s, digest(1))
					}
				})
				b.ReportMetric((cpu(b)-began)/float64(b.N), "cpu-us/op")
			})
		}
	}
}

// cpu is the time in microseconds that the process has had the processors for.
func cpu(b *testing.B) float64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1000
}

// SPDX-License-Identifier: Apache-2.0

// Package libcrypto signs with RSA keys by OpenSSL's libcrypto, which needs a
// quarter to half of the time of crypto/rsa, depending on the processor. A
// signature is the largest cost of a message that leaves, so the difference is
// worth a library that may or may not be there.
//
// [Open] loads the library of the machine at run time: nothing is needed to
// build, neither a C compiler nor headers. Where there is none, or an old one,
// Open says why and the caller stays with crypto/rsa. [Library.Signer] makes a
// [Key] of a private key: a [crypto.Signer] that anything may use in its place. A
// Key never fails where crypto/rsa would not: it holds the Go key too, and
// whatever it does not do by libcrypto it does with that.
//
// The library is not trusted blindly. A key's first signature is made when the
// key is loaded, before any mail, and verified by crypto/rsa. Later every
// [verifyEvery]th is verified: OpenSSL checks its own result against glitches of
// the processor, so what is left is memory that went bad, and for that a sample is
// enough and costs one part in a thousand. One wrong signature, or one error, and
// the library is not asked again until the next start; that is logged and counted.
//
// A call into C keeps a thread of the operating system for itself. No more
// signatures are under way at a time than there are processors to make them;
// the others wait in the order in which they came, as goroutines: 500 connections
// that sign made 338 threads without that bound and make 7 with it.
//
// It does RSASSA-PKCS1-v1_5 with SHA-256, which is what DKIM needs. Ed25519 is
// fast enough in Go. The build tag nolibcrypto leaves the library out, for a
// binary without dynamic linking.
package libcrypto

import (
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// Names of what makes signatures, for logs and the label of a metric.
const (
	Name   = "libcrypto"
	GoName = "crypto/rsa"
)

// Errors of [Open].
var (
	// ErrMissing means that there is no library that could be loaded, or that
	// this build or platform has no way to load one.
	ErrMissing = errors.New("libcrypto cannot be loaded")
	// ErrOld means a library before 3.0.5. 3.0.4 corrupts memory when it signs
	// with 2048 bits on processors with AVX512-IFMA (CVE-2022-2274), and numbers
	// below 3 are of other libraries or out of support.
	ErrOld = errors.New("libcrypto is older than OpenSSL 3.0.5")
)

// oldest is 3.0.5 as OpenSSL_version_num gives it: 0xMNN00PP0.
const oldest = 0x30000050

// handle is a private key in the library's memory (EVP_PKEY).
type handle uintptr

// operations are what the library does for us. A handle may be used by several
// goroutines at a time.
type operations interface {
	version() uint64
	// load makes a key of a PKCS #1 private key in DER.
	load(der []byte) (handle, error)
	// sign writes the signature of a SHA-256 digest to sig, which has the size of the modulus.
	sign(h handle, sig, digest []byte) error
	free(h handle)
}

// Options of a library. All may be left out.
type Options struct {
	// Signings is how many signatures are made at a time. 0 means GOMAXPROCS.
	Signings int
	Logger   *slog.Logger // nil = discard
	Registry prometheus.Registerer
}

// Library is a loaded libcrypto. It is safe for concurrent use.
type Library struct {
	ops     operations
	version string
	log     *slog.Logger
	retired prometheus.Counter
	out     atomic.Bool   // not asked any more
	slots   chan struct{} // holds one value for each signature under way
	closing chan struct{} // holds a value while Close takes all slots: two would each wait for those of the other

	mu   sync.Mutex
	keys []handle
}

// Open loads the library. The error wraps [ErrMissing] or [ErrOld].
func Open(o Options) (*Library, error) {
	var errs []error
	for ops, err := range installed() {
		if err == nil {
			var l *Library
			if l, err = newLibrary(ops, o); err == nil {
				return l, nil
			}
		}
		errs = append(errs, err)
	}
	return nil, worst(errs)
}

// worst is the error that tells most: a library that is too old before one that is missing.
func worst(errs []error) error {
	for _, err := range errs {
		if errors.Is(err, ErrOld) {
			return err
		}
	}
	return errs[0]
}

func newLibrary(ops operations, o Options) (*Library, error) {
	n := ops.version()
	version := fmt.Sprintf("%d.%d.%d", n>>28, n>>20&0xff, n>>4&0xff)
	if n < oldest {
		return nil, fmt.Errorf("%w: it is %s", ErrOld, version)
	}
	if o.Signings <= 0 {
		o.Signings = runtime.GOMAXPROCS(0)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	l := &Library{ops: ops, version: version, log: o.Logger, slots: make(chan struct{}, o.Signings), closing: make(chan struct{}, 1)}
	l.retired = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "segue_sign_fallbacks_total",
		Help: "Times that signing left libcrypto for crypto/rsa because of a wrong signature or an error. It stays there until the next start.",
	})
	if o.Registry != nil {
		if err := o.Registry.Register(l.retired); err != nil {
			return nil, fmt.Errorf("registering metrics of libcrypto: %w", err)
		}
	}
	return l, nil
}

// Version is the version of OpenSSL, such as 3.0.19.
func (l *Library) Version() string { return l.version }

// Signer loads a private key, signs with it once, and verifies that with
// crypto/rsa. An error means that the library does not take this key: a policy of
// the machine may forbid it. The key is freed by [Library.Close].
func (l *Library) Signer(key *rsa.PrivateKey) (*Key, error) {
	if !l.enter() {
		return nil, fmt.Errorf("loading a key: %w", errRetired)
	}
	defer l.leave()
	der := x509.MarshalPKCS1PrivateKey(key)
	h, err := l.ops.load(der)
	clear(der)
	if err != nil {
		return nil, fmt.Errorf("loading a key: %w", err)
	}
	k := &Key{lib: l, key: key, h: h}
	if err := k.try(); err != nil {
		l.ops.free(h)
		return nil, fmt.Errorf("signing for the first time with a key: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.keys = append(l.keys, h)
	return k, nil
}

// errRetired says that the library is not asked any more.
var errRetired = errors.New("libcrypto has been given up")

// enter waits for a slot; false means that the library is not to be asked.
// Goroutines that wait to send on a channel are served in their order.
func (l *Library) enter() bool {
	if l.out.Load() {
		return false
	}
	l.slots <- struct{}{}
	if l.out.Load() {
		<-l.slots
		return false
	}
	return true
}

func (l *Library) leave() { <-l.slots }

// retire gives the library up.
func (l *Library) retire(err error) {
	if l.out.Swap(true) {
		return
	}
	l.retired.Inc()
	l.log.Error("libcrypto is not used any more, signing goes on with crypto/rsa until the next start",
		slog.String("version", l.version), slog.Any("error", err))
}

// Close waits for the signatures under way and frees all keys, which sign with
// crypto/rsa from then on. The library itself stays loaded: it leaves destructors
// with each thread that called it, which must find their code when the thread ends.
func (l *Library) Close() error {
	l.closing <- struct{}{}
	defer func() { <-l.closing }()
	l.out.Store(true)
	for range cap(l.slots) {
		l.slots <- struct{}{}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range l.keys {
		l.ops.free(h)
	}
	l.keys = nil
	for range cap(l.slots) {
		<-l.slots
	}
	return nil
}

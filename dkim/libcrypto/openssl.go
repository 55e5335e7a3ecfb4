// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64) && !nolibcrypto

package libcrypto

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"
)

// soname is the library of OpenSSL 3. The loader knows where a distribution has it.
const soname = "libcrypto.so.3"

// elsewhere are the directories of an OpenSSL that was built on the machine and
// not made known to the loader.
func elsewhere() []string { return []string{"/usr/local/lib64", "/usr/local/lib"} }

// rsaPKCS1Padding is RSA_PKCS1_PADDING of openssl/rsa.h.
const rsaPKCS1Padding = 1

// openSSL is libcrypto. Its fields are addresses of C functions, named as there.
//
// What is passed to C is Go's memory, pinned for the time of the call, since purego
// knows addresses only as numbers. C keeps none of it.
type openSSL struct {
	versionNum, autoPrivateKey, keyFree                   uintptr
	ctxNew, ctxFree, signInit, setMD, setPadding, keySign uintptr
	sha256, getError, errorString, clearError             uintptr
	digest                                                uintptr // EVP_MD, static
}

// installed yields the libraries of this machine, or why there is none.
func installed() iter.Seq2[operations, error] {
	paths := []string{soname}
	for _, dir := range elsewhere() {
		paths = append(paths, filepath.Join(dir, soname))
	}
	return load(paths)
}

// load yields the libraries at the paths; a path without slash is one for the loader to find.
func load(paths []string) iter.Seq2[operations, error] {
	return func(yield func(operations, error) bool) {
		for _, path := range paths {
			o, err := dlopen(path)
			if err != nil && !yield(nil, err) || err == nil && !yield(o, nil) {
				return
			}
		}
	}
}

func dlopen(path string) (*openSSL, error) {
	lib, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMissing, err)
	}
	o := &openSSL{}
	for name, at := range map[string]*uintptr{
		"OpenSSL_version_num": &o.versionNum, "d2i_AutoPrivateKey": &o.autoPrivateKey, "EVP_PKEY_free": &o.keyFree,
		"EVP_PKEY_CTX_new": &o.ctxNew, "EVP_PKEY_CTX_free": &o.ctxFree, "EVP_PKEY_sign_init": &o.signInit,
		"EVP_PKEY_CTX_set_signature_md": &o.setMD, "EVP_PKEY_CTX_set_rsa_padding": &o.setPadding, "EVP_PKEY_sign": &o.keySign,
		"EVP_sha256": &o.sha256, "ERR_get_error": &o.getError, "ERR_error_string_n": &o.errorString, "ERR_clear_error": &o.clearError,
	} {
		if *at, err = purego.Dlsym(lib, name); err != nil {
			return nil, fmt.Errorf("%w: %s has no %s: %w", ErrMissing, path, name, err)
		}
	}
	o.digest, _, _ = purego.SyscallN(o.sha256)
	return o, nil
}

func (o *openSSL) version() uint64 {
	n, _, _ := purego.SyscallN(o.versionNum)
	return uint64(n)
}

func (o *openSSL) load(der []byte) (handle, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	purego.SyscallN(o.clearError)
	var pin runtime.Pinner
	defer pin.Unpin()
	// The function moves the pointer on as it reads. at is a number for Go, so that
	// the collector never sees a pointer behind the end of der.
	at := pinned(&pin, &der[0])
	key, _, _ := purego.SyscallN(o.autoPrivateKey, 0, pinned(&pin, &at), uintptr(len(der)))
	if key == 0 {
		return 0, o.failed("d2i_AutoPrivateKey")
	}
	return handle(key), nil
}

// sign makes a context of its own for each signature: that costs nothing beside
// the signature, and a context is not for several threads. The thread is kept
// because OpenSSL has a queue of errors for each.
func (o *openSSL) sign(h handle, sig, digest []byte) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	purego.SyscallN(o.clearError)
	ctx, _, _ := purego.SyscallN(o.ctxNew, uintptr(h), 0)
	if ctx == 0 {
		return o.failed("EVP_PKEY_CTX_new")
	}
	defer purego.SyscallN(o.ctxFree, ctx)
	if r, _, _ := purego.SyscallN(o.signInit, ctx); !succeeded(r) {
		return o.failed("EVP_PKEY_sign_init")
	}
	if r, _, _ := purego.SyscallN(o.setPadding, ctx, rsaPKCS1Padding); !succeeded(r) {
		return o.failed("EVP_PKEY_CTX_set_rsa_padding")
	}
	if r, _, _ := purego.SyscallN(o.setMD, ctx, o.digest); !succeeded(r) {
		return o.failed("EVP_PKEY_CTX_set_signature_md")
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	n := uintptr(len(sig))
	r, _, _ := purego.SyscallN(o.keySign, ctx, pinned(&pin, &sig[0]), pinned(&pin, &n), pinned(&pin, &digest[0]), uintptr(len(digest)))
	if !succeeded(r) {
		return o.failed("EVP_PKEY_sign")
	}
	return nil
}

// failed is the error of the last call on this thread.
func (o *openSSL) failed(function string) error {
	code, _, _ := purego.SyscallN(o.getError)
	if code == 0 {
		return errors.New(function + " failed and does not say why")
	}
	text := make([]byte, 256)
	var pin runtime.Pinner
	defer pin.Unpin()
	purego.SyscallN(o.errorString, code, pinned(&pin, &text[0]), uintptr(len(text)))
	text, _, _ = bytes.Cut(text, []byte{0})
	return fmt.Errorf("%s: %s", function, text)
}

func (o *openSSL) free(h handle) { purego.SyscallN(o.keyFree, uintptr(h)) }

// pinned is the address of v, which stays there until pin is undone.
func pinned[T any](pin *runtime.Pinner, v *T) uintptr {
	pin.Pin(v)
	return uintptr(unsafe.Pointer(v)) //nolint:gosec // C needs the address, and the pin makes it good
}

// succeeded reads the result of a function that returns 1, or 0 and less.
func succeeded(r uintptr) bool {
	return int32(r) > 0 //nolint:gosec // a C int is the lower half of the register, the upper is not defined
}

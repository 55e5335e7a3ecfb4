// SPDX-License-Identifier: Apache-2.0

//go:build !linux || (!amd64 && !arm64) || nolibcrypto

package libcrypto

import (
	"fmt"
	"iter"
)

// installed says that this build cannot load a library.
func installed() iter.Seq2[operations, error] {
	return func(yield func(operations, error) bool) {
		yield(nil, fmt.Errorf("%w: this build has no way to", ErrMissing))
	}
}

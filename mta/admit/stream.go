// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"fmt"
	"slices"

	"github.com/seguemta/segue/mta/rfc5321"
)

// chooseStream takes the stream that the message asks for, if the credential
// may use it, else the credential's first.
func (a *Admitter) chooseStream(d *draft) error {
	switch {
	case d.asked.stream != "":
		if _, ok := a.o.Streams[d.asked.stream]; !ok {
			return refuse(fmt.Sprintf("X-Segue-Stream names the unknown stream %.40q", d.asked.stream))
		}
		if !slices.Contains(d.Streams, d.asked.stream) {
			return refuse(fmt.Sprintf("this credential may not use stream %s", d.asked.stream))
		}
		d.stream = d.asked.stream
	case len(d.Streams) > 0:
		d.stream = d.Streams[0]
	default:
		return refuse("this credential has no stream")
	}
	d.class = a.o.Streams[d.stream]
	return nil
}

func refuse(text string) error {
	return rfc5321.Refuse(550, rfc5321.EnhancedCode{5, 7, 1}, text)
}

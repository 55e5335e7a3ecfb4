// SPDX-License-Identifier: Apache-2.0

package mx

import (
	"context"
	"net/netip"
	"slices"

	"github.com/seguemta/segue/mta/resolve"
)

// Addresses returns where to connect for a host, in the order to try: IPv4
// first, since providers judge an IPv6 source by far less history. families
// are those that the source can bind. Addresses that the guard forbids are left
// out; [Forbidden] is the error when none remains.
//
// A host without an address of these families, but with one of the other, is a
// temporary [NoFamily]: another source may reach it.
func (r *Router) Addresses(ctx context.Context, host Host, families resolve.Families) ([]netip.AddrPort, error) {
	answer, err := r.opts.Resolver.LookupAddrs(ctx, host.Name, families)
	if k := resolve.KindOf(err); k == resolve.NoData && families != resolve.Both {
		if _, other := r.opts.Resolver.LookupAddrs(ctx, host.Name, resolve.Both); other == nil {
			return nil, &Error{Kind: NoFamily, Domain: host.Name, Until: untilOf(err)}
		} else if resolve.KindOf(other) != resolve.NoData {
			err = other
		}
	}
	switch resolve.KindOf(err) {
	case resolve.NXDomain, resolve.NoData:
		// The recipient's domain exists; it names an exchanger that does not.
		return nil, &Error{Kind: NoAddress, Domain: host.Name, Until: untilOf(err), Err: err}
	default:
		if err != nil {
			return nil, lookupError(host.Name, err)
		}
	}
	addrs := slices.Clone(answer.Addrs)
	// An address given as a host is not bound to the families asked for.
	usable := slices.DeleteFunc(addrs, func(a netip.Addr) bool { return !fits(a, families) })
	if len(usable) == 0 {
		return nil, &Error{Kind: NoFamily, Domain: host.Name}
	}
	var forbidden error
	allowed := usable[:0]
	for _, a := range usable {
		if err := r.opts.Guard.Check(a); err != nil {
			forbidden = err
			continue
		}
		allowed = append(allowed, a)
	}
	if len(allowed) == 0 {
		return nil, &Error{Kind: Forbidden, Domain: host.Name, Until: answer.Until, Err: forbidden}
	}
	r.shuffle(allowed)
	slices.SortStableFunc(allowed, func(a, b netip.Addr) int { return a.BitLen() - b.BitLen() })
	allowed = allowed[:min(len(allowed), MaxAddresses)]
	out := make([]netip.AddrPort, len(allowed))
	for i, a := range allowed {
		out[i] = netip.AddrPortFrom(a, host.Port)
	}
	return out, nil
}

func (r *Router) shuffle(addrs []netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rand.Shuffle(len(addrs), func(i, j int) { addrs[i], addrs[j] = addrs[j], addrs[i] })
}

func fits(a netip.Addr, families resolve.Families) bool {
	if a.Is4() {
		return families&resolve.IPv4 != 0
	}
	return families&resolve.IPv6 != 0
}

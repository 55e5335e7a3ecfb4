// SPDX-License-Identifier: Apache-2.0

// Package mtatest is a small internet for tests: an in-memory network with real
// addresses, DNS zones, and scripted mail exchangers. Only tests import it.
//
// [NewNet] makes the network. It implements netx.Network, holds bytes in
// bounded buffers as TCP does, closes each direction by itself, and waits only
// in ways that testing/synctest understands, so that a ten-minute timeout takes
// no time. [Zones] answers DNS queries from text, on a Net ([Net.HandleDNS]) or
// on a real loopback socket ([Zones.Serve]), with lies and failures on demand.
// [Exchanger] plays a mail server and records what it was given; [Script] makes
// it misbehave at any point of the dialogue, [Provider] is the script of a large
// mailbox provider with its quotas for each address.
package mtatest

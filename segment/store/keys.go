// SPDX-License-Identifier: Apache-2.0

package store

import "encoding/binary"

// This file is the format document of the contacts store: every key that can
// occur, and what its value holds. Integers in keys are big endian, so that
// keys sort by number. Strings at the end of a key are raw bytes. Every value
// but those marked "raw" begins with one byte, the version of its layout.
//
//	0x00 ...              package kv: format, epoch, clean marker
//	m/NAME                meta, see the metaX constants (raw)
//	q/NAME                cursor of a consumer of another store's log: epoch, sequence, time of the last event
//	c/ID                  contact: address, user id, batch, consent, zone, language, source, tags, lists, accounts with roles,
//	                      attributes (cold: written by imports and identify calls)
//	n/ID                  visitor: the record of a person whose address is not known yet, in the layout of a contact's. Its id
//	                      comes from the same numbers, but nothing that reads c or h meets it
//	s/ID                  run of soft bounces of a contact: score, first, last, last deferral; only of contacts that have one
//	h/ID                  state: sends, engagement, bounces, complaints (hot: written by every event)
//	xa/ADDRESS            contact id of an address key, 8 bytes (raw)
//	xu/USER               contact or visitor id of a user id, 8 bytes (raw)
//	xo/ANONYMOUS          contact or visitor id of an anonymous id, 8 bytes (raw)
//	w/ID/KIND/NAME        what leads to a contact or visitor besides its address: KIND is u (user id) or o (anonymous id); empty (raw)
//	xn/NAME               account id of an account name in lower case, 8 bytes (raw)
//	xd/DOMAIN             account id of an account domain, 8 bytes (raw)
//	xg/GROUP              account id of a group id, 8 bytes (raw)
//	a/ID                  account: name, domain, group id, parent, attributes
//	A/ACCOUNT/CONTACT     edge id of a contact that belongs to the account, 8 bytes (raw); the other way is in the contact
//	e/ID/TIME/HASH        event of a contact or visitor: TIME is microseconds since 1970 with its sign turned, HASH 4 bytes of a
//	                      sum of the message id
//	r/ID                  series of a contact: what its events left behind for rules, by a key of 16 bytes for each kind; the
//	                      data is a series of package rule
//	d/DAY/HASH            a message id that came on that day since 1970 (4 bytes): HASH is 16 bytes; a = applied, r = rejected (raw)
//	P/HMAC/SCOPE          suppression: HMAC-SHA256 of the address key (32 bytes), then the scope
//	f/SEQUENCE            flip: a contact's tier or suppression changed
//	Ms/NAME               segment whose members are here: id, generation, version, identity, definition, stage
//	Mc/SEGMENT/GEN/CHUNK  members with the same upper 16 bits, a roaring bitmap (portable form); 4, 4 and 2 bytes
//	Md/SEGMENT/CONTACT    change of members under construction: in or out; 4 and 8 bytes
//	Mb                    the pass that builds members: plan, generation, last contact done
//	Mf/ACCOUNT            account that changed: last of its contacts that was judged again, 8 bytes (raw)
//	Mw                    last flip that the flows in Mw/... include, 8 bytes (raw)
//	Mw/NAME/0/DAY         flow of a segment on a day since 1970 (4 bytes): members at its end, who entered and left by hour; kept
//	                      for 100 days, as are results
//	Mi/CONTACT/NAME       when, why and into which generation a contact entered a segment; not known of those whom a build found
//	Mu/NAME               life of a segment: first known, last used
//	o/NAME/0/DAY          results of the mail that went by a segment, on a day: sent, delivered, bounced, complained, unsubscribed,
//	                      opened and clicked by people and by machines
//	Mk/IDENTITY           condition about the contacts of accounts: id in keys, whether all edges were asked; 16 bytes
//	Mn/CONDITION/CHUNK    edges with the same upper 16 bits for which it holds, a roaring bitmap; 4 and 2 bytes
//	Mo/CONDITION/EDGE     change since these were stored: in or out; 4 and 8 bytes
//	t/SECOND/CONTACT      time wheel: when a contact is judged again; 4 and 8 bytes, no value
//	b/ID                  behaviour of a contact: identity of the model that folded it (16 bytes), then the state as package
//	                      segment/score writes it
//	Ra/ACCOUNT/BASE/ORDER/CONTACT
//	                      score of a contact in an account: what fades of it and since when. BASE is what stays, ORDER what its
//	                      fading part is compared by, 8 bytes each and greater ones first; kept where a rule reads account_score
//	Rc/ID                 the same of a contact, and in which accounts it stands
//	Rm                    identity of the model that these are by, 16 bytes, and whether all contacts have theirs
//	Lh/ID/MESSAGE         opens and clicks of one message (a 16-byte hash) by one contact, held and remembered: the second of
//	                      the entry below, then as package segment/signal writes them
//	Lt/SECOND/ID/MESSAGE  when those are looked at again: 4, 8 and 16 bytes; empty (raw)
//	Lg/DOMAIN             what is known of the gateway of a recipient domain, as package segment/signal writes it (its first
//	                      byte is the version)
//	E/HMAC                erasure: when, what is left to be done, what was erased; HMAC is that of P, or of a user id
//	g/HASH                progress of an import: HASH is 16 bytes over the file's name and its first bytes
//
// The slash stands for nothing: prefixes are exactly the bytes before it.
const (
	prefixMeta        = "m"
	prefixCursor      = "q"
	prefixContact     = "c"
	prefixVisitor     = "n"
	prefixState       = "h"
	prefixSoft        = "s"
	prefixByAddress   = "xa"
	prefixByUser      = "xu"
	prefixByAnonymous = "xo"
	prefixByGroup     = "xg"
	prefixIDs         = "w"
	prefixByName      = "xn"
	prefixByDomain    = "xd"
	prefixAccount     = "a"
	prefixEdge        = "A"
	prefixEvent       = "e"
	prefixTaken       = "d"
	prefixSeries      = "r"
	prefixSuppression = "P"
	prefixFlip        = "f"
	prefixImport      = "g"
	prefixSegment     = "Ms"
	prefixMembers     = "Mc"
	prefixDelta       = "Md"
	prefixBuild       = "Mb"
	prefixFanOut      = "Mf"
	prefixFlow        = "Mw"
	prefixEntered     = "Mi"
	prefixLife        = "Mu"
	prefixResults     = "o"
	prefixWheel       = "t"
	prefixErasure     = "E"
	prefixBehaviour   = "b"
	prefixRank        = "Ra"
	prefixRanked      = "Rc"
	prefixRanking     = "Rm"
	prefixHeld        = "Lh"
	prefixHeldDue     = "Lt"
	prefixGateway     = "Lg"

	prefixCounted       = "Mk"
	prefixCountedEdges  = "Mn"
	prefixCountedChange = "Mo"
)

// Meta keys, each under prefixMeta.
const (
	metaSecret   = "secret"   // fingerprint of the suppression key, 16 bytes (raw)
	metaContacts = "contacts" // first contact id that was never handed out, 8 bytes (raw); runs ahead by up to a block
	metaAccounts = "accounts" // the same for account ids
	metaEdges    = "edges"    // the same for edge ids
	metaNumbered = "numbered" // there is no contact of layout 1 with an account any more (raw)
	metaFlips    = "flips"    // sequence of the last flip ever written, 8 bytes (raw)

	metaCheckpoint = "checkpoint" // last flip that the members in Mc include, 8 bytes (raw)
	metaSegments   = "segments"   // last id given to a segment, 8 bytes (raw)
	metaWheel      = "wheel"      // entry up to which the wheel has been turned, as in its key (raw)
	metaVerified   = "verified"   // last contact that the verifier has looked at, 8 bytes (raw)
	metaKept       = "kept"       // keys of the series that are complete in every record of r, 16 bytes each (raw)
	metaGuard      = "guard"      // what whoever judges hard bounces remembers (raw)
	metaJudged     = "judged"     // identity of the rules and tiers that the wheel's deadlines are of, 16 bytes (raw)
)

// Name and version of the format. A change to a layout raises the version of
// that value and is read in both forms; a change to keys raises formatVersion.
const (
	formatName    = "segue contacts"
	formatVersion = 1
)

func key(prefix, rest string) []byte {
	return append(append(make([]byte, 0, len(prefix)+len(rest)), prefix...), rest...)
}

func keyID(prefix string, id uint64) []byte {
	return binary.BigEndian.AppendUint64(append(make([]byte, 0, len(prefix)+8), prefix...), id)
}

func keyPair(prefix string, a, b uint64) []byte {
	return binary.BigEndian.AppendUint64(append(make([]byte, 0, len(prefix)+16), keyID(prefix, a)...), b)
}

func keySuppression(h Hash, scope string) []byte {
	k := make([]byte, 0, len(prefixSuppression)+len(h)+len(scope))
	return append(append(append(k, prefixSuppression...), h[:]...), scope...)
}

// after is the first key behind all keys with the prefix.
func after(prefix []byte) []byte {
	end := append([]byte{}, prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		end[i]++
		if end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

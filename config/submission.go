// SPDX-License-Identifier: Apache-2.0

package config

// Listener is one address where mail comes in over SMTP.
type Listener struct {
	// submission takes mail to send, from those who may; feedback takes bounces and
	// complaints about mail that was sent, from everyone, and needs no credentials.
	// There is no default: what a stranger may do differs.
	Purpose Purpose `toml:"purpose" required:"true" need:"say submission or feedback" enum:"submission,feedback"`

	// Where to listen.
	Address Listen `toml:"address" required:"true" need:"say where to listen, such as 127.0.0.1:2587"`

	// none, starttls (upgrade within the session, RFC 3207) or implicit (from the
	// first byte, RFC 8314). The default needs no certificate and is right on
	// loopback; elsewhere passwords would be readable, which is warned about.
	TLS TLSMode `toml:"tls" default:"none" enum:"none,starttls,implicit"`

	// The certificate chain in PEM, for starttls and implicit; renewed files are taken up
	// within a minute.
	CertFile Path `toml:"cert_file"`

	// The private key of the certificate in PEM.
	KeyFile Path `toml:"key_file"`

	// Networks that may submit without AUTH, as the credential trust_as. By default
	// none: an address is easier to borrow than a password.
	Trust []Prefix `toml:"trust" default:""`

	// The credential that trusted networks act as. By default they may send as any
	// [[domain]] in stream marketing, without an hourly limit.
	TrustAs string `toml:"trust_as" defaultdoc:"any domain of ours, stream marketing"`

	// The largest message taken, announced with SIZE (RFC 1870). The default is what
	// the large mailbox providers take; a bigger one would only bounce later.
	MaxSize Size `toml:"max_size" default:"25MB" min:"64kB" max:"1GB"`

	// Recipients in one transaction. RFC 5321, section 4.5.3.1.8, asks for at least
	// 100; the default lets a platform hand over a campaign in few transactions.
	MaxRecipients int `toml:"max_recipients" default:"1000" min:"1" max:"100000"`

	// Connections at one time. The default serves many submitters and bounds the
	// memory of messages being received.
	MaxConnections int `toml:"max_connections" default:"1000" min:"1" max:"100000"`

	// Connections at one time from one IPv4 address or IPv6 /64; what is above it
	// gets 421 in place of the banner. Networks in trust are not counted. By default
	// 100 for submission, since an application opens tens, 20 for feedback, and never
	// more than half of max_connections: one stranger must not take all of them.
	MaxConnectionsPerAddress int `toml:"max_connections_per_address" defaultdoc:"100 for submission, 20 for feedback" min:"1" max:"100000"`

	// How long a client may keep silent: between commands, at most 3m of it within a
	// message, 1m while it does not read, 30s within a TLS handshake. The default is
	// what RFC 5321, section 4.5.3.2.7, asks for; a lower one frees connections sooner
	// while somebody holds many of them open.
	IdleTimeout Duration `toml:"idle_timeout" default:"5m" min:"1s" max:"1h"`
}

// Purpose is what a listener is for.
type Purpose string

// Purposes of a listener.
const (
	Submission Purpose = "submission"
	Feedback   Purpose = "feedback"
)

// TLSMode is how a listener uses TLS.
type TLSMode string

// Ways to use TLS.
const (
	TLSNone     TLSMode = "none"
	TLSStart    TLSMode = "starttls"
	TLSImplicit TLSMode = "implicit"
)

// Credential is one submitter, what it may send as, and in which streams.
type Credential struct {
	// The user name in AUTH, and the name in logs and events.
	Name string `toml:"name" required:"true" identity:"true" format:"name" need:"each credential has a name"`

	// The argon2id hash of the password in PHC form; `segue check --hash` makes one.
	// By default nobody can log in, and the credential is only good for trust_as: no
	// password is better than a known one.
	PasswordHash string `toml:"password_hash" format:"argon2id" defaultdoc:"no login"`

	// The streams it may use. The first is the one of mail that names none; the
	// header X-Segue-Stream may choose among them. The default is the stream that
	// obeys every limit.
	Streams []string `toml:"streams" default:"marketing" nonempty:"true" need:"leave it out for marketing alone"`

	// The domains it may send as, each declared by a [[domain]]. There is no default:
	// a leaked password should reach as little as possible.
	Domains []string `toml:"domains" required:"true" format:"domain" need:"name the domains it may send as"`

	// Recipients that it may submit within an hour; 0 is without limit. By default
	// there is none, since only its owner knows how much a campaign is.
	PerHour int64 `toml:"per_hour" default:"0" min:"0"`

	// Its marketing mail brings List-Unsubscribe, with one https link, and
	// List-Unsubscribe-Post (RFC 8058) itself, so that no [public] is needed for it. By
	// default it may, and the engine adds them where they are missing or not whole;
	// without [public] such mail is refused.
	OwnUnsubscribe bool `toml:"own_unsubscribe" default:"false"`
}

// Domain is a domain that mail is sent as: the domain of From.
type Domain struct {
	// The domain, in lower case and in its xn-- form if it is beyond ASCII.
	Name string `toml:"name" required:"true" identity:"true" format:"domain" need:"name the domain that mail is sent as"`

	// The domain of return paths: bounces come back to it, so its MX is a feedback
	// listener and its SPF names the sources. The default is a name of its own, so
	// that bounces stay apart from the mailboxes of the domain, and below the domain,
	// so that SPF aligns with From (RFC 7489, section 3.1.2).
	ReturnPath string `toml:"return_path" format:"domain" defaultdoc:"bounce.NAME"`

	// A warm-up plan of the domain's own, beside those of the sources: marketing mail
	// has to fit both budgets. Receivers know domains as they know addresses, so that a new
	// domain on a warm source is cold. By default there is none.
	Plan string `toml:"plan" defaultdoc:"none: a warm domain"`

	// Who sends, as the last part of the Feedback-ID of marketing mail, by which Gmail
	// tells in its Postmaster Tools how mail is received: 5 to 15 letters and digits, and
	// the same for years. The default is made of the name of the domain.
	FeedbackID string `toml:"feedback_id" format:"feedback_id" defaultdoc:"letters and digits of the domain"`

	// The keys that sign mail of this domain; with several, each signs.
	DKIM []DKIM `toml:"dkim"`
}

// DKIM is one signing key of a domain.
type DKIM struct {
	// The selector: the public key is at SELECTOR._domainkey.DOMAIN.
	Selector string `toml:"selector" required:"true" identity:"true" format:"selector" need:"the public key is published at SELECTOR._domainkey.DOMAIN"`

	// The private key in PEM (PKCS #8 or PKCS #1): RSA of 2048 bits or more, or
	// Ed25519.
	KeyFile Path `toml:"key_file" required:"true" need:"name the file with the private key"`
}

// Stream is a class of mail. transactional and marketing exist without being
// declared; a table with their name overrides what it names. What a stream
// says about pool and weight wins over segment and tier.
type Stream struct {
	// The name, as X-Segue-Stream and credentials use it.
	Name string `toml:"name" required:"true" identity:"true" format:"name" need:"each stream has a name"`

	// The pool through which all mail of the stream leaves. By default the segment
	// chooses, then the tier, then delivery.pool; transactional mail goes through the
	// pool named transactional if there is one, since it must not share the
	// reputation of campaigns.
	Pool string `toml:"pool" defaultdoc:"by segment and tier; for transactional, the pool transactional if there is one"`

	// The share of connections and rate against other lanes. 0: the segment's or
	// tier's weight. By default 32 for transactional, four times that of the best
	// tier, because someone is waiting for it; 0 for others.
	Weight int `toml:"weight" defaultdoc:"32 for transactional, else 0" min:"0" max:"1000"`

	// How long mail is tried before it expires. By default 24h for transactional,
	// whose content is worthless a day later, and 168h for others: a week outlasts a
	// server that fails on a Friday, and the four to five days that RFC 5321, section
	// 4.5.4.1, asks for at least.
	MaxAge Duration `toml:"max_age" defaultdoc:"24h for transactional, else 168h" min:"1m" max:"30d"`
}

// SPDX-License-Identifier: Apache-2.0

// Package config reads Segue's configuration: TOML files (https://toml.io)
// become a [Config] with every default filled in, and everything that is
// wrong with them becomes a list of [Problem], each with file and line, all
// in one run.
//
// It is the structural half of a check. It reads the configuration files and
// nothing else: unknown keys, wrong types, values out of range, names that
// refer to nothing, addresses that clash. What needs more than the text (rules
// compiled, DKIM keys and certificates read) is mta.Check, which reports with
// [Config.Problem] so that its findings carry positions too. The package does
// not know the engine: package mta turns a Config into the Options of the
// other packages.
//
// Call [Load] first. The structs of this package are the format: a field's
// tag toml is its key, default its default, min, max and enum its bounds, and
// its comment is its page in deploy/manual/configuration.md, which go generate
// writes and a test keeps fresh. No key is ever "a text or a table", so that an
// unknown key is always detectable.
//
// # Key paths
//
// Problems and [Config.Position] name a value by its path. Keys are joined by
// dots. An element of a list of tables is named in brackets by what identifies
// it (name; selector of a DKIM key, source of a pool's member, tier of an
// assignment, domain of a route) and otherwise, as elements of plain lists,
// by its index from 0:
//
//	delivery.retry[2]
//	segment[high-value-trial].where
//	segment[high-value-trial].assign[active].pool
//	domain[example.com].dkim[s2026].key_file
//	plan[standard].stage[0].per_day.google
//	listener[1].cert_file
package config

//go:generate go test -count=1 -run TestReferenceIsFresh . -update

// Config is everything that the configuration files say, with defaults filled
// in. It is made by [Load] and not changed afterwards; it may then be read by
// several goroutines.
type Config struct {
	// The name of this machine, as other mail servers see it: in the greeting of
	// listeners, in EHLO of every source without a hostname of its own, and in
	// Received and Message-ID. It should resolve to this machine's address and
	// back. There is no default: what the operating system calls a machine is
	// often a short name, and receivers refuse mail for that.
	Hostname string `toml:"hostname" required:"true" format:"domain" need:"say how other mail servers see this machine, such as mta1.mail.example.net"`

	// Where mail and contacts are stored. A fast local disk: every accepted message
	// waits for it to sync. The default is where systemd's StateDirectory=segue
	// and the file system hierarchy standard put state.
	DataDir Path `toml:"data_dir" default:"/var/lib/segue"`

	// Where the keys that sign return paths, unsubscribe tokens and suppression
	// entries are kept; made at the first start, part of every backup. By default
	// beside the data, so that one backup holds what belongs together.
	SecretsDir Path `toml:"secrets_dir" defaultdoc:"data_dir/secrets"`

	// The time zone in which a day of budget begins and ends, and in which the
	// windows of plans are written. The default, UTC, has no day of 23 or 25 hours.
	BudgetZone Zone `toml:"budget_zone" default:"UTC"`

	// More configuration files: a pattern as a shell understands it (*, ?, [a-z]),
	// relative to this file; they are read in the order of their names. Their lists
	// of tables are appended; a name or key that is already set is an error. Only
	// the main file may include. By default nothing is included, so that a file
	// means what it says.
	Include string `toml:"include"`

	// How long a stop waits for connections to finish what they send; what is cut
	// then is counted, and sent again after the next start. The default is well
	// below the 90 s after which systemd kills, and long enough for any ordinary
	// message in flight.
	ShutdownDeadline Duration `toml:"shutdown_deadline" default:"30s"`

	Log         Log          `toml:"log"`
	Queue       Queue        `toml:"queue"`
	Events      Events       `toml:"events"`
	DNS         DNS          `toml:"dns"`
	Delivery    Delivery     `toml:"delivery"`
	Bounce      Bounce       `toml:"bounce"`
	Throttle    Throttle     `toml:"throttle"`
	Rehearsal   Rehearsal    `toml:"rehearsal"`
	HTTP        HTTP         `toml:"http"`
	Public      Public       `toml:"public"`
	Suppression Suppression  `toml:"suppression"`
	Feedback    FeedbackMail `toml:"feedback"`
	Breaker     Breaker      `toml:"breaker"`
	Canary      Canary       `toml:"canary"`
	Scoring     Scoring      `toml:"scoring"`
	Signal      Signal       `toml:"signal"`

	Listeners   []Listener   `toml:"listener"`
	Credentials []Credential `toml:"credential"`
	WriteKeys   []WriteKey   `toml:"write_key"`
	Domains     []Domain     `toml:"domain"`
	Streams     []Stream     `toml:"stream"`
	Sources     []Source     `toml:"source"`
	Pools       []Pool       `toml:"pool"`
	Plans       []Plan       `toml:"plan"`
	Providers   []Provider   `toml:"provider"`
	Routes      []Route      `toml:"route"`
	Attributes  []Attribute  `toml:"attribute"`
	Tiers       []Tier       `toml:"tier"`
	Segments    []Segment    `toml:"segment"`
	Scores      []Score      `toml:"score"`

	index index
}

// Path is the path of a file or directory. A relative one starts at the
// directory of the configuration file that names it.
type Path string

// Log says what the engine writes to standard error. Addresses and contents of
// mail are never part of it at info and above.
type Log struct {
	// The least level that is written. The default shows what an operator may have
	// to act on, and starts and stops; debug writes several lines per message.
	Level LogLevel `toml:"level" default:"info" enum:"debug,info,warn,error"`

	// text is one line of key=value pairs, json one object per line. The default is
	// for people reading a journal; a log pipeline wants json.
	Format LogFormat `toml:"format" default:"text" enum:"text,json"`
}

// LogLevel is debug, info, warn or error; [slog.Level] parses it.
type LogLevel string

// LogFormat is the form of a log line.
type LogFormat string

// Forms of the log.
const (
	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)

// Queue says how the store of mail uses memory and disk.
type Queue struct {
	// Memory of the queue's write buffer. A bigger one writes less to disk, because
	// most mail is delivered and deleted before it would be written out; the process
	// uses about twice as much while one is flushed. The default fits a machine with
	// 1 GB; 256MiB is good where there are 8.
	MemtableSize Size `toml:"memtable_size" default:"64MiB" min:"1MiB" max:"2GiB"`

	// Free disk below which no more mail is accepted (a temporary refusal). Delivery
	// goes on. The default leaves room for compaction and for the outcomes of mail
	// that is already here.
	MinFree Size `toml:"min_free" default:"1GiB"`

	// How long events stay in the log after every internal reader has seen them.
	// The default lets an outside reader be down over a long weekend.
	EventRetention Duration `toml:"event_retention" default:"7d" min:"1h"`
}

// DNS says whom to ask for names.
type DNS struct {
	// Resolvers, tried in order. By default those of the system
	// (/etc/resolv.conf), which is right for most machines; a resolver on this
	// machine is right for a busy one, since block lists and large resolvers limit
	// how much one client may ask.
	Servers []Server `toml:"servers" defaultdoc:"the system's resolvers"`
}

// Delivery says how mail leaves.
type Delivery struct {
	// The port of other mail servers. The default is where they listen; only
	// rehearsals against a sink change it.
	Port int `toml:"port" default:"25" min:"1" max:"65535"`

	// Delays after a temporary failure; the last one repeats until the stream's
	// max_age. The default tries again soon, since greylisting and a busy
	// server pass within minutes, and then ever more rarely, since what lasts an hour
	// tends to last a day. RFC 5321, section 4.5.4.1, asks for 30 minutes in general
	// and welcomes strategies that know more than that.
	Retry []Duration `toml:"retry" default:"5m,15m,30m,1h,2h,4h" min:"1s" nonempty:"true" need:"leave it out for the default delays"`

	// The share by which each delay of retry is made longer or shorter at random.
	// The default spreads a burst that failed together over a fifth of the delay,
	// so that it does not come back as a burst.
	Jitter float64 `toml:"jitter" default:"0.1" min:"0" max:"0.5"`

	// The pool of mail that neither its stream nor its segment nor its tier gives
	// one. With a single pool there is nothing to choose, so that one is the default;
	// with more it has to be said.
	Pool string `toml:"pool" defaultdoc:"the only pool" format:"name"`

	// Connections of the whole engine to other servers at one time. The default
	// is enough for several hundred messages a second at two seconds each, and
	// costs about 100 MB when all are busy under TLS.
	MaxConnections int `toml:"max_connections" default:"1000" min:"1" max:"100000"`

	// Connections at one time from one source to one site that belongs to no
	// [[provider]]. The default is what the strictest of the large providers
	// accept from a sender they do not know.
	Connections int `toml:"connections" default:"5" min:"1" max:"1000"`

	// Messages on one connection, to a site that belongs to no [[provider]]. The
	// default spares most handshakes and stays below the limits that are common.
	PerConnection int `toml:"per_connection" default:"50" min:"1" max:"10000"`

	// Hand messages over by BDAT (RFC 3030) where the other server offers CHUNKING.
	// It saves a round trip per message. On by default: a host that offers
	// it and breaks at it gets DATA at once, and for the day after. Turn it off where
	// a firewall on the way damages it.
	Chunking bool `toml:"chunking" default:"true"`

	// How long to wait for a connection to be made. The later steps keep the
	// timeouts of RFC 5321, section 4.5.3.2. The default is long for a network and
	// short for a queue: a host that did not answer in 30 s seldom does in 120.
	ConnectTimeout Duration `toml:"connect_timeout" default:"30s" min:"1s" max:"5m"`

	// What makes RSA signatures. auto is OpenSSL's libcrypto where the machine has it,
	// 3.0.5 or later, and Go's own crypto/rsa else; the log says at the start which it is,
	// and why. go is always crypto/rsa. The default is auto because an RSA signature is
	// the largest cost of a message and libcrypto needs a quarter to half of the time for
	// it; go is for machines on which no library may be loaded. Ed25519 signatures are
	// always made by Go.
	Signer Signer `toml:"signer" default:"auto" enum:"auto,go"`
}

// Signer is what makes RSA signatures.
type Signer string

// What makes RSA signatures.
const (
	SignerAuto Signer = "auto"
	SignerGo   Signer = "go"
)

// Rehearsal opens what is closed in production, for rehearsals and tests on one
// machine.
type Rehearsal struct {
	// Networks that delivery may connect to although they are loopback or private.
	// By default there are none: mail to a domain whose MX names an inside address
	// would otherwise reach services that trust this machine.
	PrivateTargets []Prefix `toml:"private_targets" default:""`
}

// HTTP is the inside: API, /metrics, /healthz, /readyz.
type HTTP struct {
	// Where to listen. The default can be reached from this machine only, and
	// submission by HTTP and the operator's commands work without further settings.
	Address Listen `toml:"address" default:"127.0.0.1:8025"`

	// A file with the token that API calls carry. By default there is none, which is
	// allowed on loopback only, and warned about: every local user could then send
	// and read mail.
	TokenFile Path `toml:"token_file"`
}

// Bounce is what replies and bounce mail mean.
type Bounce struct {
	// A file with rules of your own, asked before the built-in ones; one with the
	// name of a built-in rule replaces it. `segue check` reads it and runs the examples
	// that each rule carries, and `segue bounce reload` reads it again without a
	// restart. By default there is none: the built-in rules know the large providers.
	RulesFile Path `toml:"rules_file"`
}

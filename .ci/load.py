# The two systems of .ci/bench and the load on them. Each runs in a directory of its own under BENCH_DIR (/var/tmp), on
# addresses of loopback, as child processes of this program and of nobody else.
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

SEGUE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "bin", "segue")
DOMAINS = ["dest%d.example" % i for i in range(5)]
EXCHANGERS = ["127.0.0.%d" % (11 + i) for i in range(5)]
PATIENCE = 180  # seconds that a round may take
TICKS = os.sysconf("SC_CLK_TCK")


class Failure(Exception):
    """What ends the benchmark, in words for whoever started it."""


def need(program, package):
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not path:
        raise Failure(f"{program} is missing: make deps installs it (Debian package {package})")
    return path


def run(*args):
    done = subprocess.run(args, capture_output=True, text=True)
    if done.returncode:
        raise Failure(f"{' '.join(args)} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def free_port(address="127.0.0.1"):
    with socket.socket() as s:
        s.bind((address, 0))
        return s.getsockname()[1]


def wait_for(what, ready, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise Failure(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.1)


def listens(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as s:
            return s.recv(4).startswith(b"220")
    except OSError:
        return False


# ---- processor time


def processes():
    """Every process: its parent, and its ticks with those of children that it has buried."""
    table = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as f:
                fields = f.read().rpartition(")")[2].split()
        except OSError:
            continue  # gone
        table[int(pid)] = (int(fields[1]), sum(map(int, fields[11:15])))
    return table


def tree(roots):
    """The processes that descend from roots, with roots."""
    table, found, grown = processes(), set(roots), True
    while grown:
        grown = {pid for pid, (parent, _) in table.items() if parent in found} - found
        found |= grown
    return {pid: table[pid][1] for pid in found if pid in table}


def processor_seconds(roots):
    return sum(tree(roots).values()) / TICKS


def settle(roots, limit=20.0):
    """Waits until the processes rest: less than 5 % of a processor for half a second."""
    deadline, before = time.monotonic() + limit, processor_seconds(roots)
    while time.monotonic() < deadline:
        time.sleep(0.5)
        now = processor_seconds(roots)
        if now - before < 0.05 * 0.5 + 1 / TICKS:
            return
        before = now


def syncs(roots, load):
    """How often the processes call fsync or fdatasync while load runs."""
    strace = need("strace", "strace")
    with tempfile.NamedTemporaryFile("r") as out:
        pids = [arg for pid in tree(roots) for arg in ("-p", str(pid))]
        tracer = subprocess.Popen([strace, "-f", "-qq", "-e", "trace=fsync,fdatasync", "-o", out.name, *pids],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            wait_for("strace to attach", lambda: tracer.poll() is not None or all(map(traced, tree(roots))))
            if tracer.poll() is not None:
                raise Failure(f"strace ended: {tracer.stderr.read()}")
            load()
        finally:
            stop(tracer)
        return len(re.findall(r"\bf(?:data)?sync\(", out.read()))


def traced(pid):
    try:
        with open(f"/proc/{pid}/status") as f:
            return not re.search(r"^TracerPid:\s+0$", f.read(), re.M)
    except OSError:
        return True  # gone


def stop(process, how=signal.SIGTERM):
    if process.poll() is None:
        process.send_signal(how)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


# ---- the two systems


class System:
    """A mail server: start, then load(port), then stop. roots are the processes to measure."""

    def __init__(self, top, signed, suffix=""):
        self.signed, self.children = signed, []
        self.dir = os.path.join(top, self.name.lower() + ("" if signed else "-unsigned") + suffix)
        self.port, self.sink_port = free_port(), free_port(EXCHANGERS[0])
        os.makedirs(self.dir, mode=0o755)
        self.configure(os.path.join(top, "dkim.pem"))

    def write(self, name, text):
        with open(os.path.join(self.dir, name), "w") as f:
            f.write(text)

    def spawn(self, *args):
        with open(os.path.join(self.dir, "output"), "ab") as out:
            self.children.append(subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True))

    def start(self):
        self.launch()
        try:
            wait_for(f"{self.name} to listen", lambda: self.alive() and listens(self.port))
        except Failure as e:
            self.stop()
            raise Failure(f"{e}\n{self.output()}") from None
        settle(self.roots)

    def alive(self):
        for child in self.children:
            if child.poll() is not None:
                raise Failure(f"{self.name}: {' '.join(child.args)} ended with {child.returncode}")
        return True

    @property
    def roots(self):
        return [child.pid for child in self.children]

    def output(self):
        text = ""
        for name in ("output", "log"):
            if os.path.exists(path := os.path.join(self.dir, name)):
                with open(path, errors="replace") as f:
                    text += "".join(f.readlines()[-20:])
        return text

    def stop(self):
        for child in self.children:
            stop(child)
        self.children = []


class Segue(System):
    name = "Segue"

    CONFIG = """\
hostname = "mta.bench.example"
data_dir = "{dir}/data"
[delivery]
pool = "standard"
[rehearsal]
private_targets = ["127.0.0.0/8"]
[http]
address = "127.0.0.1:{http}"
token_file = "{dir}/token"
[[listener]]
purpose = "submission"
address = "127.0.0.1:{port}"
trust = ["127.0.0.0/8"]
trust_as = "bench"
[[credential]]
name = "bench"
streams = ["transactional"]
domains = ["example.com"]
[[domain]]
name = "example.com"
{dkim}[[source]]
name = "a1"
addresses = ["127.0.0.1"]
[[pool]]
name = "standard"
[[pool.member]]
source = "a1"
{providers}"""
    DKIM = """\
[[domain.dkim]]
selector = "bench"
key_file = "{key}"
"""
    PROVIDER = """\
[[route]]
domain = "{domain}"
via = "{address}:{port}"
[[provider]]
name = "p{number}"
domains = ["{domain}"]
connections = 100
per_connection = 10000
"""

    def configure(self, key):
        self.http, self.token = free_port(), "bench-bench-bench"
        providers = "".join(self.PROVIDER.format(domain=d, address=a, port=self.sink_port, number=i)
                            for i, (d, a) in enumerate(zip(DOMAINS, EXCHANGERS)))
        self.text = self.CONFIG.format(dir=self.dir, port=self.port, http=self.http, providers=providers,
                                       dkim=self.DKIM.format(key=key) if self.signed else "")
        self.write("segue.toml", self.text)
        self.write("token", self.token + "\n")
        os.chmod(os.path.join(self.dir, "token"), 0o600)

    def launch(self):
        self.spawn(SEGUE, "serve", "--config", os.path.join(self.dir, "segue.toml"))

    def settings(self):
        return [("segue.toml", self.text)]

    @staticmethod
    def version():
        return run(SEGUE, "--version").strip()


class Postfix(System):
    name = "Postfix"

    # What the issue names is at the top; the rest makes it faster than its defaults, or lets it run beside others.
    MAIN = """\
default_process_limit = 200
default_destination_concurrency_limit = 100
smtp_destination_concurrency_limit = 100
initial_destination_concurrency = 100
in_flow_delay = 0
smtp_connection_cache_on_demand = yes
smtp_connection_cache_destinations = static:all
smtp_connection_reuse_time_limit = 300s
smtp_connection_reuse_count_limit = 0
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_peername_lookup = no
smtpd_recipient_restrictions =
smtpd_relay_restrictions = permit_mynetworks, reject
receive_override_options = no_address_mappings
smtp_dns_support_level = disabled
smtp_tls_security_level = none
compatibility_level = 3.6
queue_directory = {dir}/spool
data_directory = {dir}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
maillog_file = {dir}/log
maillog_file_prefixes = {dir}
myhostname = mta.bench.example
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = loopback-only
inet_protocols = ipv4
alias_maps =
alias_database =
transport_maps = texthash:{dir}/transport
{milter}"""
    MILTER = """\
smtpd_milters = unix:{dir}/opendkim.sock
milter_default_action = tempfail
milter_protocol = 6
"""
    MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup     unix n - n 60 1 pickup
cleanup    unix n - n - 0 cleanup
qmgr       unix n - n 300 1 qmgr
tlsmgr     unix - - n 1000? 1 tlsmgr
rewrite    unix - - n - - trivial-rewrite
bounce     unix - - n - 0 bounce
defer      unix - - n - 0 bounce
trace      unix - - n - 0 bounce
verify     unix - - n - 1 verify
flush      unix n - n 1000? 0 flush
proxymap   unix - - n - - proxymap
smtp       unix - - n - - smtp
error      unix - - n - - error
retry      unix - - n - - error
discard    unix - - n - - discard
anvil      unix - - n - 1 anvil
scache     unix - - n - 1 scache
postlog    unix-dgram n - n - 1 postlogd
"""
    OPENDKIM = """\
Mode s
Socket local:{dir}/opendkim.sock
UMask 000
Domain example.com
Selector bench
KeyFile {key}
SignatureAlgorithm rsa-sha256
Canonicalization relaxed/relaxed
InternalHosts 127.0.0.0/8
Syslog no
RequireSafeKeys no
"""

    def configure(self, key):
        if os.getuid() != 0:
            raise Failure("Postfix starts as root only")
        self.postfix, self.opendkim = need("postfix", "postfix"), need("opendkim", "opendkim")
        for name in ("spool", "data"):
            os.mkdir(os.path.join(self.dir, name), mode=0o755)
        shutil.chown(os.path.join(self.dir, "data"), "postfix")
        self.main = self.MAIN.format(dir=self.dir, milter=self.MILTER.format(dir=self.dir) if self.signed else "")
        self.milter = self.OPENDKIM.format(dir=self.dir, key=key)
        self.write("main.cf", self.main)
        self.write("master.cf", self.MASTER.format(port=self.port))
        self.write("opendkim.conf", self.milter)
        self.write("transport", "".join(f"{d} smtp:[{a}]:{self.sink_port}\n" for d, a in zip(DOMAINS, EXCHANGERS)))

    def launch(self):
        if self.signed:
            self.spawn(self.opendkim, "-f", "-x", os.path.join(self.dir, "opendkim.conf"))
            wait_for("OpenDKIM", lambda: self.alive() and os.path.exists(os.path.join(self.dir, "opendkim.sock")))
        self.spawn(self.postfix, "-c", self.dir, "start-fg")

    def stop(self):
        subprocess.run([self.postfix, "-c", self.dir, "stop"], capture_output=True)  # its parent, a shell, tells it nothing
        super().stop()

    def settings(self):
        return [("main.cf", self.main), ("opendkim.conf", self.milter)]

    @staticmethod
    def version():
        dkim = run(need("opendkim", "opendkim"), "-V").splitlines()[0]
        return f"{run(need('postconf', 'postfix'), '-hd', 'mail_version').strip()} with {dkim}"


# ---- the load


class Load:
    """A sink that waits for so many messages, and what was measured while a system carried them to it."""

    def __init__(self, system, size, connections):
        self.system, self.size, self.connections, self.sent = system, size, connections, 0

    def __enter__(self):
        self.stats = f"127.0.0.1:{free_port()}"
        listen = [arg for a in EXCHANGERS for arg in ("--listen", f"{a}:{self.system.sink_port}")]
        self.sink = subprocess.Popen([SEGUE, "bench", "sink", *listen, "--signed-each", "20", "--stats", self.stats],
                                     stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for _ in EXCHANGERS:
            if not self.sink.stderr.readline().startswith("listening"):
                raise Failure(f"the sink did not start: {self.sink.stderr.read()}")
        return self

    def __exit__(self, *_):
        stop(self.sink)

    def arrived(self):
        """What the sink counts."""
        with urllib.request.urlopen(f"http://{self.stats}/", timeout=10) as answer:
            return json.load(answer)

    def send(self, messages):
        """Sends, and returns the sender's report."""
        done = subprocess.run([SEGUE, "bench", "send", "--to", f"127.0.0.1:{self.system.port}", "--messages", str(messages),
                               "--connections", str(self.connections), "--size", self.size, "--domains", str(len(DOMAINS)),
                               "--prefix", f"r{self.sent}-", "--stream", "transactional", "--json"], capture_output=True, text=True)
        if done.returncode:
            raise Failure(f"{self.system.name} did not accept everything: {done.stdout}{done.stderr}\n{self.system.output()}")
        self.sent += messages
        return json.loads(done.stdout)

    def measure(self, messages):
        """Sends, waits until all is delivered, and returns what it took."""
        roots = self.system.roots
        before = processor_seconds(roots)
        sender = self.send(messages)
        try:
            wait_for(f"{self.sent} messages", lambda: self.arrived()["messages"] >= self.sent, PATIENCE)
        except Failure as e:
            raise Failure(f"{self.system.name}: {e}: {self.arrived()}\n{self.system.output()}") from None
        settle(roots)
        processor, sink = processor_seconds(roots) - before, self.arrived()
        if sink["messages"] != self.sent or sink["duplicates"]:
            raise Failure(f"{self.system.name}: {self.sent} messages sent, the sink counts {sink}")
        if bool(sink["unsigned"]) == self.system.signed or bool(sink["signed"]) != self.system.signed:
            raise Failure(f"{self.system.name}: signed is {self.system.signed}, but the sink counts {sink}")
        took = stamp(sink["last"]) - stamp(sender["first"])
        return {"rate": messages / took, "cpu": processor / messages * 1e6, "seconds": took,
                "p50": sender["acceptance"]["p50_ms"], "p99": sender["acceptance"]["p99_ms"]}


def stamp(text):
    """Seconds of an RFC 3339 time in UTC, with nanoseconds."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    return time.mktime(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + float("0." + (fraction or "0"))


def directory():
    """A new directory on a disk, which other users can pass through: Postfix is one."""
    top = tempfile.mkdtemp(prefix="segue-bench-", dir=os.environ.get("BENCH_DIR", "/var/tmp"))
    os.chmod(top, 0o755)
    kind = run("stat", "-f", "-c", "%T", top).strip()
    if kind in ("tmpfs", "ramfs"):
        os.rmdir(top)
        raise Failure(f"{top} is in memory ({kind}): point BENCH_DIR at a disk")
    run(need("openssl", "openssl"), "genrsa", "-traditional", "-out", os.path.join(top, "dkim.pem"), "2048")
    return top, kind


def command(name, main):
    """Runs main as a program. A polite signal ends it through its finally clauses, so that nothing stays behind."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(f"{name}: terminated"))
    try:
        sys.exit(main())
    except Failure as e:
        sys.exit(f"{name}: {e}")
    except KeyboardInterrupt:
        sys.exit(f"{name}: interrupted")


def machine(kind):
    with open("/proc/cpuinfo") as f:
        model = re.search(r"model name\s*: (.*)", f.read())
    return f"{os.cpu_count()} processors ({model.group(1) if model else 'unknown'}), Linux {os.uname().release}, {kind}"

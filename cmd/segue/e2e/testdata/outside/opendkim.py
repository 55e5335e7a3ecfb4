# SPDX-License-Identifier: Apache-2.0
"""Verifies messages with opendkim-testmsg: opendkim.py RECORDS DIR

Runs in network, mount and process namespaces of its own (unshare): it makes dnsmasq the only resolver there is, with
the TXT records of RECORDS, a JSON object by name. For each .eml file of DIR it prints a line: file, rsa, pass or fail,
why (tabs between). opendkim-testmsg knows no Ed25519.
"""
import concurrent.futures
import fcntl
import json
import os
import pathlib
import socket
import struct
import subprocess
import sys
import tempfile
import time

PATH = os.environ["PATH"] + ":/usr/sbin:/sbin"
PATIENCE = 30  # seconds for one step


def loopback_up():
    """ip link set lo up, without iproute2."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        fcntl.ioctl(s, 0x8914, struct.pack("16sh14x", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS, IFF_UP | IFF_RUNNING


def serve(records, tmp):
    """Starts dnsmasq and makes it the resolver."""
    conf = pathlib.Path(tmp, "resolv.conf")
    conf.write_text("nameserver 127.0.0.1\n")
    subprocess.run(["mount", "--bind", conf, os.path.realpath("/etc/resolv.conf")], check=True)
    args = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root", "--pid-file",
            "--listen-address=127.0.0.1", "--bind-interfaces", "--log-facility=-"]
    for name, text in records.items():
        parts = [text[i:i + 200] for i in range(0, len(text), 200)]
        args.append("--txt-record=" + ",".join([name] + parts))
    server = subprocess.Popen(args, env={"PATH": PATH}, stdin=subprocess.DEVNULL, stdout=sys.stderr)
    query = struct.pack(">6H", 1, 0x100, 1, 0, 0, 0) + b"\x00" + struct.pack(">2H", 2, 1)  # the root's NS: any answer will do
    deadline = time.monotonic() + PATIENCE
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(0.1)
        s.connect(("127.0.0.1", 53))
        while True:
            try:
                s.send(query)
                s.recv(512)
                return server
            except OSError:
                if server.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit("dnsmasq does not answer")


def verdict(path, tmp):
    with open(path, "rb") as message:
        done = subprocess.run(["opendkim-testmsg", "-t", tmp], stdin=message, capture_output=True, env={"PATH": PATH}, timeout=PATIENCE)
    why = " ".join((done.stdout + done.stderr).decode(errors="replace").split())
    return "fail" if done.returncode or why else "pass", "exit %d %s" % (done.returncode, why)


def main(records, folder):
    records = json.loads(pathlib.Path(records).read_text())
    loopback_up()
    with tempfile.TemporaryDirectory() as tmp:
        server = serve(records, tmp)
        try:
            paths = sorted(pathlib.Path(folder).glob("*.eml"))
            with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
                for path, found in zip(paths, pool.map(lambda p: verdict(p, tmp), paths)):
                    print(path.name, "rsa", *found, sep="\t")
        finally:
            server.terminate()
            server.wait()


main(*sys.argv[1:])

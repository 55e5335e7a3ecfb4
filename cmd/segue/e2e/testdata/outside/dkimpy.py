# SPDX-License-Identifier: Apache-2.0
"""Verifies messages with dkimpy: dkimpy.py RECORDS DIR

RECORDS is a JSON object of TXT records by name, the only DNS that there is. For each .eml file of DIR it prints a
line for each algorithm: file, algorithm, pass or fail, why (tabs between).
"""
import json
import pathlib
import re
import sys

import dkim


def algorithm(signature):
    return re.search(rb"\ba=([a-z0-9]+)-sha256;", signature).group(1).decode()


def verdicts(message, txt):
    found = {"rsa": "no signature", "ed25519": "no signature"}
    signatures = []
    try:
        verifier = dkim.DKIM(message)
        signatures = [value for name, value in verifier.headers if name.lower() == b"dkim-signature"]
    except dkim.DKIMException as e:
        found = dict.fromkeys(found, repr(e))
    for i, signature in enumerate(signatures):
        try:
            ok = dkim.DKIM(message).verify(idx=i, dnsfunc=txt)
            found[algorithm(signature)] = "" if ok else "signature does not verify"
        except dkim.DKIMException as e:
            found[algorithm(signature)] = repr(e)
    return found


def main(records, folder):
    records = json.loads(pathlib.Path(records).read_text())

    def txt(name, timeout=5):
        return records.get(name.decode().rstrip("."), "").encode() or None

    for path in sorted(pathlib.Path(folder).glob("*.eml")):
        for name, why in verdicts(path.read_bytes(), txt).items():
            print(path.name, name, "fail" if why else "pass", " ".join(why.split()), sep="\t")


main(*sys.argv[1:])

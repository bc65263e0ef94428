#!/usr/bin/env python3
"""Turn a Debian dpkg status file into JSON lines for `quorate import`: real input for the tests.

    dpkg_to_jsonl.py [STATUS] > packages.jsonl        STATUS is /var/lib/dpkg/status unless given, - is standard input

One stanza is one line, in the order of the file:

    {"table":"dpkg","key":"<package>:<architecture>","sort":"<version>","value":"<the stanza's text>"}

The value is the stanza as it stands, with its last newline: the values joined by newlines are the file again. A stanza
without Architecture has the package alone as its key, one without Version an empty sort key. Text that is not valid
UTF-8 goes into key_base64, sort_base64 or value_base64 in place of key, sort or value.
The same file gives the same bytes. The count goes to standard error.
"""

import base64
import json
import sys


def stanzas(data):
    """Yield (line number, text) of each stanza: what stands between empty lines."""
    first, lines = 1, []
    for number, line in enumerate(data.splitlines(keepends=True), start=1):
        if line.strip(b" \t\r\n"):
            if not lines:
                first = number
            lines.append(line)
        elif lines:
            yield first, b"".join(lines)
            lines = []
    if lines:
        yield first, b"".join(lines)


def field(stanza, name):
    """The value of a one-line field, or nothing. Continuation lines start with a space and match no name."""
    for line in stanza.split(b"\n"):
        found, colon, value = line.partition(b":")
        if colon and found.lower() == name:
            return value.strip(b" \t\r")
    return b""


def put(row, name, data):
    """Add the data under its name, as text when it is text."""
    try:
        row[name] = data.decode("utf-8")
    except UnicodeDecodeError:
        row[name + "_base64"] = base64.b64encode(data).decode("ascii")


def main(arguments):
    if len(arguments) > 1 or arguments[:1] in (["-h"], ["--help"]):
        print(__doc__, end="")
        return 0 if len(arguments) == 1 else 2
    path = arguments[0] if arguments else "/var/lib/dpkg/status"
    try:
        if path == "-":
            data = sys.stdin.buffer.read()
        else:
            with open(path, "rb") as file:
                data = file.read()
    except OSError as error:
        print(f"dpkg_to_jsonl: cannot read {path}: {error.strerror}", file=sys.stderr)
        return 1
    count = 0
    for line, stanza in stanzas(data):
        package, architecture = field(stanza, b"package"), field(stanza, b"architecture")
        if not package:
            print(f"dpkg_to_jsonl: {path}:{line}: a stanza without Package", file=sys.stderr)
            return 1
        row = {"table": "dpkg"}
        put(row, "key", package + b":" + architecture if architecture else package)
        put(row, "sort", field(stanza, b"version"))
        put(row, "value", stanza)
        print(json.dumps(row, ensure_ascii=True, separators=(",", ":")))
        count += 1
    print(f"dpkg_to_jsonl: {count} stanzas of {path}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Forge an image: change its records in many ways, mend every checksum, and restart each.

    forge.py COUNT SEED IMAGE TARGET -- RESTART...

Checksums find damage, not malice: whoever wrote the image wrote them as well. RESTART... (with TARGET
among its arguments, and -K KILL) must restart the program, which is killed then, or say why not; it
must not crash, nor hang, nor leave a process. Prints what went wrong; status 1 when something did.
"""
import collections
import random
import struct
import subprocess
import sys

import xxhash

TAGS = {1: "ImageInfo", 2: "Process", 3: "Thread", 4: "Mm", 5: "FdTable", 6: "Description", 7: "Object",
        25: "Namespace"}
HEADER, NOTES_OFF, NOTES_LEN, NOTES_DIGEST, PHDRS_OFF = 64, 64 + 32, 64 + 40, 64 + 48, 64 + 56
PAGE = 4096
INTERESTING = [0, 1, 2, 0x7F, 0x80, 0xFF]


def u64(data, at):
    return struct.unpack_from("<Q", data, at)[0]


def notes(data):
    """(tag, offset, length) of each payload that is ours."""
    at, end = u64(data, NOTES_OFF), u64(data, NOTES_OFF) + u64(data, NOTES_LEN)
    while at + 12 <= end:
        name_len, length, tag = struct.unpack_from("<III", data, at)
        name = bytes(data[at + 12:at + 12 + name_len])
        at += 12 + (name_len + 3) // 4 * 4
        if name == b"STASIS\0" and tag in TAGS and length:
            yield tag, at, length
        at += (length + 3) // 4 * 4


def mend(data):
    begin, end = u64(data, NOTES_OFF), u64(data, PHDRS_OFF)
    struct.pack_into("<Q", data, NOTES_DIGEST, xxhash.xxh3_64_intdigest(bytes(data[begin:end])))
    struct.pack_into("<Q", data, HEADER + 8, 0)
    struct.pack_into("<Q", data, HEADER + 8, xxhash.xxh3_64_intdigest(bytes(data[:PAGE])))


def forge(data, rng):
    """One variant and what was done: a kind of record first, so that rare ones have their share."""
    bad = bytearray(data)
    found = collections.defaultdict(list)
    for tag, at, length in notes(data):
        found[tag].append((at, length))
    tag = rng.choice(sorted(found))
    at, length = rng.choice(found[tag])
    done = []
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        spot = at + rng.randrange(length)
        old = bad[spot]
        if rng.random() < 0.5:
            bad[spot] ^= 1 << rng.randrange(8)
        else:
            bad[spot] = rng.choice(INTERESTING)
        done.append(f"byte {spot - at} {old:#x} to {bad[spot]:#x}")
    mend(bad)
    return f"{TAGS[tag]} at {at}, {length} bytes: " + ", ".join(done), bytes(bad)


def judge(command):
    try:
        r = subprocess.run(command, capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return "hangs", ""
    text = r.stderr.decode(errors="replace")
    if r.returncode in (-9, 137):
        return None, "restarted"
    if r.returncode in (1, 2, 3, 4, 5) and "restart: " in text and "Sanitizer" not in text:
        return None, f"status {r.returncode}"
    return f"status {r.returncode}", text


def main():
    count, seed, image, target = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    command = sys.argv[6:]
    with open(image, "rb") as f:
        data = f.read()
    mended = bytearray(data)
    mend(mended)
    assert mended == data, "the checksums are not where this program looks for them"
    results = collections.Counter()
    bad = 0
    for i in range(count):
        what, variant = forge(data, random.Random(seed * 1000003 + i))
        with open(target, "wb") as f:
            f.write(variant)
        problem, text = judge(command)
        results[problem or text] += 1
        if problem:
            bad += 1
            print(f"variant {i}: {what}: {problem}: {text.strip()[:500]}")
    print(f"seed {seed}: {count} variants: " + ", ".join(f"{n} {k}" for k, n in sorted(results.items())))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Damage an image in many ways and run a command on each: it must end with status 5, say one line
and not crash.

    damage.py KIND IMAGE TARGET -- COMMAND...
"""
import random
import struct
import subprocess
import sys


def flips(data, count):
    rng = random.Random(1)
    spots = set(range(0, 64, 3))  # the ELF header
    spots |= {rng.randrange(len(data)) for _ in range(count)}
    spots |= {len(data) - 1 - i * 37 for i in range(40) if len(data) > i * 37}  # the tables at the end
    for at in sorted(spots):
        bad = bytearray(data)
        bad[at] ^= 1 << rng.randrange(8)
        yield f"bit of byte {at}", bytes(bad)


def truncations(data):
    for n in [0, 1, 3, 4, 16, 63, 64, 65, 100, 4095, 4096, 4097]:
        yield f"cut at {n}", data[:n]
    for i in range(1, 40):
        n = len(data) * i // 40
        yield f"cut at {n}", data[:n]
    yield "cut by one", data[:-1]


def headers(data):
    """Offsets of the program headers and of the section header (PN_XNUM count)."""
    phoff, = struct.unpack_from("<Q", data, 32)
    phnum, = struct.unpack_from("<H", data, 56)
    return [phoff + 56 * i for i in range(min(phnum, 2000))]


def counts(data):
    big = [1 << 63, (1 << 64) - 1, 1 << 40, len(data), len(data) + 1, 0x7FFFFFFFFFFFF000]

    def put(at, fmt, v):
        bad = bytearray(data)
        struct.pack_into(fmt, bad, at, v)
        return bytes(bad)

    for v in big:
        yield f"e_phoff {v:#x}", put(32, "<Q", v)
        yield f"e_shoff {v:#x}", put(40, "<Q", v)
    for v in (0, 1, 0xFFFE, 0xFFFF):
        yield f"e_phnum {v:#x}", put(56, "<H", v)
        yield f"e_phentsize {v:#x}", put(54, "<H", v)
    heads = headers(data)
    for at in heads[:3] + heads[-2:]:
        for field, off in (("p_offset", 8), ("p_vaddr", 16), ("p_filesz", 32), ("p_memsz", 40)):
            for v in big:
                if put(at + off, "<Q", v) != data:
                    yield f"{field} {v:#x} of header at {at}", put(at + off, "<Q", v)


def magics(data):
    for at, new in ((0, b"\0"), (1, b"elf"), (4, b"\1"), (5, b"\2"), (16, b"\2\0"), (18, b"\xb7\0")):
        bad = bytearray(data)
        bad[at:at + len(new)] = new
        yield f"{new!r} at {at}", bytes(bad)
    yield "zeros", bytes(len(data))
    yield "text", b"#!/bin/sh\necho restarted\n" * 1000


def few(data):
    all_kinds = list(flips(data, 20)) + list(truncations(data)) + list(counts(data))
    return random.Random(2).sample(all_kinds, 25)


KINDS = {"flip": lambda d: flips(d, 250), "truncate": truncations, "counts": counts,
         "magic": magics, "few": few}


def main():
    kind, image, target = sys.argv[1:4]
    command = sys.argv[5:]
    with open(image, "rb") as f:
        data = f.read()
    bad = tried = 0
    for what, variant in KINDS[kind](data):
        if variant == data:
            continue
        with open(target, "wb") as f:
            f.write(variant)
        try:
            r = subprocess.run(command, capture_output=True, timeout=20, stdin=subprocess.DEVNULL)
            status, text = r.returncode, r.stderr.decode(errors="replace")
        except subprocess.TimeoutExpired:
            status, text = "time-out", ""
        tried += 1
        if status != 5 or text.count("\n") != 1:
            bad += 1
            if bad <= 15:
                print(f"{what}: status {status}: {text.strip()[:300]}")
    with open(target, "wb") as f:
        f.write(data)
    print(f"{tried} variants, {bad} not refused as they should be")
    return 1 if bad or not tried else 0


if __name__ == "__main__":
    sys.exit(main())

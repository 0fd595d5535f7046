#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Hash chains, computed by four threads from the numbers on standard input.

What a checkpoint has to keep: threads and their locks, a queue in memory, a file open for appending, a
deleted scratch file, a child process at the other end of two pipes, bytes on their way in pipes.
"""
import hashlib
import os
import queue
import subprocess
import sys
import tempfile
import threading

THREADS = 4
ROUNDS = 9000

todo = queue.Queue(maxsize=32)
done = {}
changed = threading.Condition()


def worker():
    while True:
        item = todo.get()
        if item is None:
            return
        index, text = item
        digest = text.encode()
        for _ in range(ROUNDS):
            digest = hashlib.sha256(digest).digest()
        with changed:
            done[index] = f"{text} {digest.hex()}"
            changed.notify()


def reader():
    for index, line in enumerate(sys.stdin):
        todo.put((index, line.strip()))
    for _ in range(THREADS):
        todo.put(None)
    with changed:
        done["end"] = True
        changed.notify()


def ordered():
    index = 0
    while True:
        with changed:
            while index not in done:
                if "end" in done and not any(t.is_alive() for t in workers) and index not in done:
                    return
                changed.wait(0.1)
            line = done.pop(index)
        yield index, line
        index += 1


workers = [threading.Thread(target=worker, name=f"worker-{n}") for n in range(THREADS)]
with tempfile.TemporaryFile(dir=".") as scratch, open("log", "a", buffering=1) as log:
    child = subprocess.Popen(["sort", "-r"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for thread in workers + [threading.Thread(target=reader)]:
        thread.start()
    for index, line in ordered():
        print(line)
        child.stdin.write(line[-16:] + "\n")
        scratch.write(line.encode() + b"\n")
        print(f"{index + 1}", file=log)
    child.stdin.close()
    backwards = hashlib.sha256(child.stdout.read().encode()).hexdigest()
    scratch.seek(0)
    print(f"sum {hashlib.sha256(scratch.read()).hexdigest()} {backwards} {os.getcwd() != ''}", file=log)
sys.exit(child.wait())

#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# python3: threads that compute with and without the interpreter lock, queues with time limits, and a
# subprocess that answers through pipes.
. "$(dirname "$0")/real-lib.sh"

# Not one of a version manager: those are shell scripts.
python=/usr/bin/python3
[ -x "$python" ] || test_skip_all "needs $python"

real_setup() {
	cat >work.py <<'END'
import hashlib, queue, subprocess, sys, threading, zlib

SERVANT = """
import sys
for line in sys.stdin:
    n, m = map(int, line.split())
    print(pow(3, n * m, 2 ** 521 - 1) % 10 ** 12, flush=True)
"""
ROUNDS = 120
servant = subprocess.Popen([sys.executable, '-c', SERVANT], text=True, stdin=subprocess.PIPE,
                           stdout=subprocess.PIPE)
jobs, results = queue.Queue(maxsize=4), {}
lock = threading.Condition()

def ask(n, m):
    servant.stdin.write(f'{n} {m}\n')
    servant.stdin.flush()
    return servant.stdout.readline().strip()

def pure(n):
    """Holds the interpreter lock."""
    values = {}
    for i in range(25000):
        values[i % 997] = (values.get((i * n) % 997, n) * 31 + i) & 0xffffffff
    return sorted(values.values())[::100]

def native(n):
    """Gives it up: hashes and compresses big buffers."""
    data = b''.join(hashlib.sha256(f'{n} {i}'.encode()).digest() for i in range(3000))
    packed = zlib.compress(data * 10, 6)
    return hashlib.sha512(packed + zlib.decompress(packed)).hexdigest()

def worker():
    while True:
        try:
            n = jobs.get(timeout=0.05)
        except queue.Empty:
            continue
        if n is None:
            return
        got = (pure(n), native(n))
        with lock:
            results[n] = got
            lock.notify_all()

threads = [threading.Thread(target=worker) for _ in range(4)]
for t in threads:
    t.start()
for n in range(ROUNDS):
    jobs.put(n)
    print(n, ask(n * 7 + 1, 4000 + n))
with lock:
    lock.wait_for(lambda: len(results) == ROUNDS)
for t in threads:
    jobs.put(None)
for t in threads:
    t.join()
for n in sorted(results):
    print(n, *results[n])
servant.stdin.close()
sys.exit(servant.wait())
END
}
real_command=("$python" "$real_input/work.py")

real_program python3
real_program_as_user python3
test_done

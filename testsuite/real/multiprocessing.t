#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# python3's multiprocessing: queues, pipes and a descriptor sent from process to process, and an echo
# server at a Unix socket with a client that is always waiting for an answer.
. "$(dirname "$0")/real-lib.sh"

python=/usr/bin/python3
[ -x "$python" ] || test_skip_all "needs $python"

real_setup() {
	cat >work.py <<'END'
import hashlib, multiprocessing, os, socket
from multiprocessing import reduction

ROUNDS = 5000

def work(jobs, results, line, number):
    while True:
        n = jobs.get()
        if n is None:
            break
        h = b'%d' % n
        for _ in range(300):
            h = hashlib.sha256(h).digest()
        results.put((n, h.hex()))
    fd = reduction.recv_handle(line)
    os.write(fd, b'worker %d\n' % number)

def echo(listener):
    c, _ = listener.accept()
    while True:
        data = c.recv(1000)
        if not data:
            break
        c.sendall(data[::-1])

if __name__ == '__main__':
    multiprocessing.set_start_method('fork')
    jobs, results = multiprocessing.Queue(), multiprocessing.Queue()
    lines = [multiprocessing.Pipe() for _ in range(2)]
    workers = [multiprocessing.Process(target=work, args=(jobs, results, lines[i][1], i))
               for i in range(2)]
    listener = socket.socket(socket.AF_UNIX)
    listener.bind('echo.socket')
    listener.listen()
    server = multiprocessing.Process(target=echo, args=(listener,))
    for p in workers + [server]:
        p.start()
    client = socket.socket(socket.AF_UNIX)
    client.connect('echo.socket')
    found = {}
    for n in range(ROUNDS):
        jobs.put(n)
        k, v = results.get()
        found[k] = v
        text = b'%d' % (n * n)
        client.sendall(text)
        got = client.recv(100)
        assert got == text[::-1], (got, text)
    for p in workers:
        jobs.put(None)
    for i, p in enumerate(workers):
        fd = os.open('said', os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        reduction.send_handle(lines[i][0], fd, p.pid)
        os.close(fd)
        p.join()
    assert client.getpeername() == 'echo.socket' and listener.getsockname() == 'echo.socket'
    client.close()
    server.join()
    os.unlink('echo.socket')
    for n in range(ROUNDS):
        print(n, found[n])
END
}
real_command=("$python" "$real_input/work.py")

real_program multiprocessing
real_program_as_user multiprocessing
test_done

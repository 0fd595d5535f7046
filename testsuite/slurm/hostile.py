# SPDX-License-Identifier: GPL-2.0-or-later
"""Speaks with a stasisd as nobody should: hostile.py HOST PORT WHAT [ARGUMENT...]

Runs in the cluster, as whoever munge is to vouch for. Prints what came back: "closed", "open" (nothing came
within the time), or the text of the answer.
"""
import collections
import random
import socket
import struct
import subprocess
import sys
import time

HOST, PORT = sys.argv[1], int(sys.argv[2])


def connect():
    s = socket.create_connection((HOST, PORT), 10)
    s.settimeout(20)
    return s


def frame(data):
    return struct.pack('>I', len(data)) + data


def seal(text):
    return subprocess.run(['munge', '--restrict-uid=0', '-s', text], check=True, stdout=subprocess.PIPE).stdout.strip()


def answer(s):
    try:
        head = s.recv(4, socket.MSG_WAITALL)
        if len(head) < 4:
            return 'closed'
        data = s.recv(struct.unpack('>I', head)[0], socket.MSG_WAITALL)
    except ConnectionError:
        return 'closed'
    except socket.timeout:
        return 'open'
    out = subprocess.run(['unmunge', '-m', '/dev/null'], input=data, stdout=subprocess.PIPE)
    return out.stdout.decode().replace('\n', ' ')


def send(data):
    s = connect()
    try:
        s.sendall(data)
    except ConnectionError:
        return 'closed'
    return answer(s)


def garbage(count):
    random.seed(4)
    for i in range(int(count)):
        data = bytes(random.randrange(256) for _ in range(random.randrange(1, 400)))
        if i % 2:  # a fitting length
            data = frame(data)
        s = connect()
        try:
            s.sendall(data)
        except ConnectionError:
            pass
        s.close()
    print('sent')


def slow(count):
    """Many that say nothing, or a byte now and then; and then one that is served all the same."""
    many = []
    for _ in range(int(count)):
        s = connect()
        s.sendall(b'\0\0')
        many.append(s)
    time.sleep(0.2)
    print(send(frame(seal(sys.argv[5].replace(',', '\n') + '\n'))))
    end = time.time() + 30
    while many and time.time() < end:
        s = many[0]
        s.settimeout(max(0.1, end - time.time()))
        try:
            if not s.recv(1):
                many.pop(0)
        except ConnectionError:
            many.pop(0)
        except socket.timeout:
            break
    print('still open: %d' % len(many))


def crowd(count):
    """Many at the same time, each of them slow for a moment; every one of them is in the right."""
    frames = [frame(seal(sys.argv[5].replace(',', '\n') + '\n')) for _ in range(int(count))]
    many = [connect() for _ in frames]
    for s, one in zip(many, frames):
        s.sendall(one[:2])
    for s, one in zip(many, frames):
        s.sendall(one[2:])
    answers = collections.Counter('answered' if a.startswith('rc=') else a for a in map(answer, many))
    print(', '.join('%d %s' % (n, what) for what, n in answers.most_common()))


WHAT = sys.argv[3]
if WHAT == 'garbage':
    garbage(sys.argv[4])
elif WHAT == 'slow':
    slow(sys.argv[4])
elif WHAT == 'crowd':
    crowd(sys.argv[4])
elif WHAT == 'huge':
    print(send(struct.pack('>I', 0xffffffff) + b'x' * 100000))
elif WHAT == 'plain':
    print(send(frame(sys.argv[4].replace(',', '\n').encode() + b'\n')))
elif WHAT == 'sealed':
    print(send(frame(seal(sys.argv[4].replace(',', '\n') + '\n'))))
elif WHAT == 'replay':
    one = frame(seal(sys.argv[4].replace(',', '\n') + '\n'))
    print(send(one))
    print(send(one))
elif WHAT == 'altered':
    one = bytearray(seal(sys.argv[4].replace(',', '\n') + '\n'))
    one[len(one) // 2] ^= 1
    print(send(frame(bytes(one))))

#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# node: an HTTP server with timers, its client in the same program, worker threads, a child process on
# pipes: libuv's epoll, eventfds, TCP over the loopback.
. "$(dirname "$0")/real-lib.sh"

[ -z "$(test_missing_programs node)" ] || test_skip_all "needs the package nodejs"

real_setup() {
	cat >work.js <<'END'
const http = require('http'), crypto = require('crypto'), { spawn } = require('child_process');
const { Worker } = require('worker_threads');
let ticks = 0;
setInterval(() => ticks++, 10).unref();

const server = http.createServer((req, res) => {
	let body = '';
	req.on('data', d => body += d);
	req.on('end', () => setTimeout(() =>
		res.end(crypto.pbkdf2Sync(body, req.url, 4000, 32, 'sha256').toString('hex')), 1));
});
const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });

function ask(path, body) {
	return new Promise((resolve, reject) => {
		const req = http.request({ port: server.address().port, host: '127.0.0.1', path, method: 'POST', agent },
			res => { let s = ''; res.on('data', d => s += d); res.on('end', () => resolve(s)); });
		req.on('error', reject);
		req.end(body);
	});
}
function inWorker(n) {
	return new Promise((resolve, reject) => {
		const w = new Worker(`const { parentPort, workerData } = require('worker_threads');
			let x = workerData; for (let i = 0; i < 3e6; i++) x = (x * 1103515245 + 12345) % 2147483648;
			parentPort.postMessage(x);`, { eval: true, workerData: n });
		w.on('message', resolve);
		w.on('error', reject);
	});
}
server.listen(0, '127.0.0.1', async () => {
	const cat = spawn('cat');
	let waiting = null, pending = '';
	cat.stdout.on('data', d => { pending += d; if (waiting && pending.endsWith('\n')) { const w = waiting; waiting = null; const p = pending; pending = ''; w(p); } });
	const echo = s => new Promise(r => { waiting = r; cat.stdin.write(s + '\n'); });
	for (let round = 0; round < 24; round++) {
		const all = await Promise.all([0, 1, 2, 3, 4, 5, 6, 7].map(k => ask('/' + round + '/' + k, 'x'.repeat(round * 100 + k))));
		all.push(String(await inWorker(round)));
		process.stdout.write(round + ' ' + await echo(all.join(' ')));
	}
	cat.stdin.end();
	cat.on('close', () => { agent.destroy(); server.close(); if (ticks < 20) { console.error('the timer is dead'); process.exitCode = 1; } });
});
END
}
real_command=(node "$real_input/work.js")

real_program node
test_done

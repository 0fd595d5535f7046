#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# nginx, a master and two workers, with wrk inside of the tree: no connection breaks, no answer is wrong.
. "$(dirname "$0")/real-lib.sh"

[ -z "$(test_missing_programs nginx wrk)" ] || test_skip_all "needs the packages nginx-light and wrk"
test_is_root || test_skip_all "needs root: established TCP connections are restored with CAP_NET_ADMIN"
export nginx_port=$((17000 + $$ % 1000)) nginx_hundreds=1600

real_setup() {
	head -c 20000 /dev/urandom | base64 >page.txt
	cat >nginx.conf <<END
user nobody nogroup;
worker_processes 2;
daemon off;
pid nginx.pid;
error_log error.log;
events { worker_connections 200; }
http {
	access_log off;
	keepalive_requests 1000000;
	client_body_temp_path tmp;
	proxy_temp_path tmp;
	fastcgi_temp_path tmp;
	uwsgi_temp_path tmp;
	scgi_temp_path tmp;
	server {
		listen 127.0.0.1:$nginx_port;
		root $real_input;
	}
}
END
	cat >check.lua <<'END'
local want
local progress = io.open("progress", "a")
progress:setvbuf("no")
local nr = 0
response = function(status, headers, body)
	want = want or #body
	if status ~= 200 or #body ~= want then print("wrong answer", status, #body) end
	nr = nr + 1
	if nr % 100 == 0 then progress:write("x") end
end
END
	# wrk only knows times: it is told when it has had its answers
	cat >job.sh <<'END'
set -e
nginx -p "$PWD" -c "$real_input/nginx.conf" &
until (exec 9<>"/dev/tcp/127.0.0.1/$nginx_port") 2>/dev/null; do sleep 0.05; done
wrk -t 2 -c 20 -d 1h --timeout 10m -s "$real_input/check.lua" "http://127.0.0.1:$nginx_port/page.txt" >wrk.out &
wrk=$!
until [ "$(stat -c %s progress 2>/dev/null || echo 0)" -ge "$nginx_hundreds" ]; do sleep 0.05; done
kill -INT $wrk
wait $wrk
kill -QUIT "$(cat nginx.pid)"
wait
END
}
real_progress=progress
real_command=(bash "$real_input/job.sh")
# What remains of wrk's report is what went wrong.
# shellcheck disable=SC2317 # is called
real_finish() {
	grep -E 'requests in' wrk.out >/dev/null && grep -E 'Socket errors|Non-2xx|wrong answer' wrk.out >errors
	! grep -E '\[(emerg|alert|crit)\]' error.log >>errors
	rm -rf wrk.out error.log tmp nginx.pid && truncate -s "$nginx_hundreds" progress
}

real_program nginx
test_done

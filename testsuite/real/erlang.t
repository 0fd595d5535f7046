#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Erlang: the BEAM with several schedulers, thousands of its own processes passing messages, timers.
. "$(dirname "$0")/real-lib.sh"

[ -z "$(test_missing_programs erl erlc)" ] || test_skip_all "needs the package erlang-base"

real_setup() {
	cat >work.erl <<'END'
-module(work).
-export([main/0, link/2]).

main() ->
    {ok, _} = timer:send_interval(10, self(), tick),
    rounds(1),
    Ticks = drain(0),
    if Ticks < 10 -> halt(1); true -> halt(0) end.

drain(N) -> receive tick -> drain(N + 1) after 0 -> N end.

rounds(61) -> ok;
rounds(R) ->
    Self = self(),
    Last = lists:foldl(fun(K, Next) -> spawn(work, link, [Next, K * R]) end, Self, lists:seq(1, 3000)),
    Last ! {sum, R, <<>>},
    receive {sum, S, B} -> io:format("~p ~p ~p~n", [R, S, erlang:phash2(B)]) end,
    L = [erlang:phash2({R, I}) || I <- lists:seq(1, 60000)],
    io:format("~p~n", [lists:nth(30000, lists:sort(L))]),
    rounds(R + 1).

link(Next, K) ->
    receive {sum, S, B} ->
        Next ! {sum, (S * 31 + K) rem 1000000007, binary:part(<<B/binary, K:32>>, 0, min(byte_size(B) + 4, 64))}
    end.
END
	erlc work.erl
}
export HOME=$test_scratch
real_command=(erl -noinput -noshell -boot start_clean +S 2:2 -pa "$real_input" -s work main)

real_program Erlang
test_done

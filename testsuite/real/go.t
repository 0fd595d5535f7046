#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Go: goroutines over channels, the garbage collector with its terabyte reservations, preemption signals,
# a ticker, pipes to a child through the network poller (epoll).
. "$(dirname "$0")/real-lib.sh"

[ -z "$(test_missing_programs go)" ] || test_skip_all "needs the package golang-go"

real_setup() {
	cat >work.go <<'END'
package main

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

func job(seed uint64) string {
	words := map[uint64]string{}
	x := seed
	for i := 0; i < 60000; i++ {
		x = x*6364136223846793005 + 1442695040888963407
		key := x >> 48
		words[key] += fmt.Sprintf("%x", x&0xfff)
		if len(words[key]) > 30 {
			delete(words, key)
		}
	}
	keys := make([]uint64, 0, len(words))
	for k := range words {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(a, b int) bool { return keys[a] < keys[b] })
	sha := sha256.New()
	for _, k := range keys {
		fmt.Fprintf(sha, "%d=%s;", k, words[k])
	}
	return fmt.Sprintf("%x", sha.Sum(nil))
}

func main() {
	var ticks int64
	go func() {
		for range time.Tick(10 * time.Millisecond) {
			atomic.AddInt64(&ticks, 1)
		}
	}()
	child := exec.Command("cat")
	to, _ := child.StdinPipe()
	from, _ := child.StdoutPipe()
	if err := child.Start(); err != nil {
		panic(err)
	}
	answers := bufio.NewReader(from)
	for round := uint64(0); round < 16; round++ {
		var wait sync.WaitGroup
		results := make([]string, 8)
		for k := range results {
			wait.Add(1)
			go func(k int) {
				defer wait.Done()
				results[k] = job(round*8 + uint64(k))
			}(k)
		}
		wait.Wait()
		for _, r := range results {
			fmt.Fprintln(to, r)
			line, err := answers.ReadString('\n')
			if err != nil && err != io.EOF {
				panic(err)
			}
			fmt.Print(round, " ", line)
		}
	}
	to.Close()
	if err := child.Wait(); err != nil {
		panic(err)
	}
	if atomic.LoadInt64(&ticks) < 20 {
		fmt.Fprintln(os.Stderr, "the ticker is dead")
		os.Exit(1)
	}
}
END
	HOME=$PWD GOCACHE=$PWD/cache GO111MODULE=off go build -o work work.go && rm -rf cache
}
real_command=("$real_input/work")

real_program Go
test_done

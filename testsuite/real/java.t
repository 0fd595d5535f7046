#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# OpenJDK: four worker threads, the JIT, G1 with garbage, a scheduled executor that ticks all the time.
. "$(dirname "$0")/real-lib.sh"

[ -z "$(test_missing_programs java javac)" ] || test_skip_all "needs the package openjdk-17-jdk-headless"

real_setup() {
	cat >Work.java <<'END'
import java.math.BigInteger;
import java.security.MessageDigest;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;

public class Work {
	static String job(int seed) throws Exception {
		Map<Integer, String> map = new TreeMap<>();
		MessageDigest sha = MessageDigest.getInstance("SHA-256");
		long x = seed;
		for (int i = 0; i < 60000; i++) {
			x = x * 6364136223846793005L + 1442695040888963407L;
			int key = (int) (x >>> 48);
			map.merge(key, Long.toString(x, 36), (a, b) -> a.length() > 40 ? b : a + b);
			if ((key & 7) == 3)
				map.remove(key);
		}
		for (Map.Entry<Integer, String> e : map.entrySet())
			sha.update((e.getKey() + "=" + e.getValue()).getBytes());
		return new BigInteger(1, sha.digest()).toString(16);
	}
	public static void main(String[] args) throws Exception {
		AtomicInteger ticks = new AtomicInteger();
		ScheduledExecutorService timer = Executors.newScheduledThreadPool(1);
		timer.scheduleAtFixedRate(ticks::incrementAndGet, 10, 10, TimeUnit.MILLISECONDS);
		ExecutorService pool = Executors.newFixedThreadPool(4);
		for (int round = 0; round < 30; round++) {
			List<Future<String>> results = new ArrayList<>();
			for (int k = 0; k < 4; k++) {
				final int seed = round * 4 + k;
				results.add(pool.submit(() -> job(seed)));
			}
			for (Future<String> f : results)
				System.out.println(round + " " + f.get());
		}
		pool.shutdown();
		timer.shutdownNow();
		if (ticks.get() < 20)
			throw new IllegalStateException("the timer is dead");
	}
}
END
	javac Work.java
}
real_command=(java -Xmx256m -XX:+UseG1GC -cp "$real_input" Work)

real_program OpenJDK
real_program_as_user OpenJDK
test_done

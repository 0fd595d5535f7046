#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# perl: hashes, sorting, regular expressions, big integers, an interval timer that ticks all the time.
. "$(dirname "$0")/real-lib.sh"

[ -z "$(test_missing_programs perl)" ] || test_skip_all "needs perl"

real_setup() {
	cat >work.pl <<'END'
use strict;
use warnings;
use Digest::SHA;
use Math::BigInt;
use Time::HiRes;

# The timer must go on ticking, and must not disturb what it interrupts.
my $ticks = 0;
$SIG{ALRM} = sub { $ticks++ };
Time::HiRes::ualarm(20000, 20000);

my ($x, %words, @log) = (12345);
sub draw { $x = ($x * 1103515245 + 12345) & 0x7fffffff; return ($x >> 8) % $_[0] }
my $sha = Digest::SHA->new(256);
my $product = Math::BigInt->new(1);
for my $round (1 .. 70) {
	for (1 .. 5000) {
		my $w = join '', map { chr(97 + draw(26)) } 1 .. 3;
		$words{$w} .= draw(10);
		$words{$w} =~ s/(\d)\1+/$1/g if length $words{$w} > 8;
		delete $words{$w} if $words{$w} =~ /^7.*3$/;
	}
	my $before = $ticks;
	$product *= $round + scalar keys %words;
	$sha->add("$_=$words{$_};") for sort { $words{$a} cmp $words{$b} || $a cmp $b } keys %words;
	push @log, $sha->clone->hexdigest;
	print "$round $log[-1] ", scalar keys %words, "\n";
}
print "$product\n";
Time::HiRes::ualarm(0); # before the handler goes
die "the timer is dead\n" if $ticks < 20;
END
}
real_command=(perl "$real_input/work.pl")

real_program perl
test_done

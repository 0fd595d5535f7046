#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# R: linear algebra (BLAS), random numbers with a seed, a fit; results printed with all digits.
. "$(dirname "$0")/real-lib.sh"

[ -z "$(test_missing_programs Rscript)" ] || test_skip_all "needs the package r-base-core"

real_setup() {
	cat >work.R <<'END'
options(digits = 15)
set.seed(4711)
for (round in 1:25) {
	m <- matrix(rnorm(150 * 150), 150)
	s <- svd(m)$d
	d <- data.frame(x = rnorm(4000))
	d$y <- 3 * d$x + rnorm(4000) + round
	fit <- lm(y ~ x + I(x^2), data = d)
	words <- sapply(1:3000, function(i) paste(sample(letters, 6), collapse = ""))
	cat(round, s[1], s[150], coef(fit), length(unique(substr(words, 1, 3))), "\n")
}
END
}
# Threads of a BLAS add in another order each time.
export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1
real_command=(Rscript --vanilla "$real_input/work.R")

real_program R
test_done

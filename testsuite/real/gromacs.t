#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# GROMACS: a box of water, two OpenMP threads, reproducible; energies and last coordinates.
. "$(dirname "$0")/real-lib.sh"

[ -z "$(test_missing_programs gmx)" ] || test_skip_all "needs the package gromacs"
grep -qw rdtscp /proc/cpuinfo || test_skip_all "Debian's gmx ends at once on a CPU without rdtscp, as this one is"
unset GMXLIB GMX_MAXBACKUP

real_setup() {
	cat >topol.top <<'END'
#include "amber99sb-ildn.ff/forcefield.itp"
#include "amber99sb-ildn.ff/spce.itp"
[ system ]
Water
[ molecules ]
END
	cat >run.mdp <<'END'
integrator = md
dt = 0.002
nsteps = 3000
nstenergy = 100
nstxout = 500
nstlog = 500
cutoff-scheme = Verlet
coulombtype = PME
rcoulomb = 0.9
rvdw = 0.9
tcoupl = v-rescale
tc-grps = System
tau-t = 0.1
ref-t = 300
gen-vel = yes
gen-temp = 300
gen-seed = 4711
ld-seed = 4711
constraints = h-bonds
END
	cp topol.top before.top
	gmx -quiet solvate -cs spc216.gro -box 2.2 2.2 2.2 -o box.gro -p topol.top </dev/null &&
		gmx -quiet grompp -f run.mdp -c box.gro -p topol.top -o run.tpr -maxwarn 2 </dev/null
}
# Threads that wait by spinning would make the run as long as the machine is busy.
export OMP_WAIT_POLICY=passive
real_command=(gmx -quiet mdrun -s "$real_input/run.tpr" -deffnm md -ntmpi 1 -ntomp 2 -reprod -notunepme
	-pin off -nocpnum -cpt -1)
# shellcheck disable=SC2317 # is called
real_finish() {
	seq 1 20 | gmx -quiet energy -f md.edr -o energy.xvg -xvg none >/dev/null 2>&1 </dev/stdin
	[ -s energy.xvg ] && [ -s md.gro ] && [ -s md.trr ] && rm -f md.log md.cpt stdout stderr
}

real_program GROMACS
test_done

#!/usr/bin/env bash
# run_ranks.sh N PROGRAM ARGUMENTS...: runs a program of LORSA_BIN as N ranks.
. "$(dirname "$0")/mpirun.sh"

ranks=$1
program=$LORSA_BIN/$2
shift 2
start_ranks "$ranks" "$program" "$@"

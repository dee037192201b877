# Sourced by the scripts in this folder; exits 77, which ctest reports as skipped, where ranks cannot be started.
#
#   start_ranks N PROGRAM...   runs PROGRAM as N ranks on this machine, however few cores it has, for 100 s at most

if [ "${LORSA_HAS_MPI:-0}" != 1 ]; then
  echo "skipped: this lorsa was built without MPI"
  exit 77
fi
if ! command -v mpirun >/dev/null; then
  echo "skipped: there is no mpirun"
  exit 77
fi

start_ranks() {
  local ranks=$1
  shift
  timeout --foreground -k 5 100 mpirun --oversubscribe --bind-to none -n "$ranks" "$@"
}

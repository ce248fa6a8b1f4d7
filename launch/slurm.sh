#!/bin/bash
# Jobs on a Slurm cluster with GPUs; slurm.sbatch says how a job runs.
#
#   launch/slurm.sh submit [--processes=node|gpu|N] [sbatch's flags] -- COMMAND
#   launch/slurm.sh logs JOB      the end of its log, and what is added to it;
#                                 ARRAY_INDEX is one of an array
#   launch/slurm.sh cancel JOB
#
#   --dry_run   prints what would run
#
# e.g. launch/slurm.sh submit --nodes=2 --gpus-per-node=8 --time=8:00:00 -- \
#        python -m early_experience.train --config=... --workdir=...
# Submit where the code is, on a disk that all nodes see.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

verbs='submit, logs or cancel'
[ $# -gt 0 ] || fail "what to do? launch/slurm.sh $verbs"
verb=$1
shift
processes=node export=ALL log=slurm-%j.log flags=() command=() job=''
while [ $# -gt 0 ]; do
  case $1 in
    --processes=*) processes=${1#*=} ;;
    --export=*) export=${1#*=} ;;
    --dry_run) dry_run=1 ;;
    --array=*) log=slurm-%A_%a.log flags+=("$1") ;;
    --)
      shift
      command=("$@")
      break
      ;;
    -*) flags+=("$1") ;;
    *)
      [ -z "$job" ] || fail "unknown argument '$1'; see the head of $0"
      job=$1
      ;;
  esac
  shift
done
cd "$here/.."

case $verb in
  submit)
    [ ${#command[@]} -gt 0 ] ||
      fail "submit what? launch/slurm.sh submit [FLAGS] -- COMMAND"
    [ -z "$job" ] || fail "'$job' is no flag of sbatch; write --FLAG=VALUE"
    [[ $processes =~ ^(node|gpu|[1-9][0-9]*)$ ]] ||
      fail "--processes=$processes is not node, gpu or a number"
    need sbatch 'this is no machine of a Slurm cluster'
    run sbatch --parsable "--output=$log" ${flags[@]+"${flags[@]}"} \
      "--export=$export,PROCESSES=$processes" launch/slurm.sbatch "${command[@]}"
    ;;
  logs | cancel)
    [[ $job =~ ^[0-9_]+$ ]] || fail "which job? launch/slurm.sh $verb NUMBER"
    if [ "$verb" = logs ]; then
      run tail -n 100 -F "slurm-$job.log"
    else
      need scancel 'this is no machine of a Slurm cluster'
      run scancel "$job"
    fi
    ;;
  *) fail "unknown verb '$verb': $verbs" ;;
esac

#!/bin/bash
# TPU slices of Google Kubernetes Engine, through xpk (pip install xpk).
#
#   launch/gke_xpk.sh VERB --cluster=NAME [--FLAG=VALUE...] [-- COMMAND]
#
#   create          makes the cluster: --type=v5litepod-256 [--slices=1] [--spot]
#   run             submits COMMAND: --workload=NAME --type=... [--slices=1]
#                   Exit code 75 and preempted slices start it again
#                   (--max_restarts=100)
#   list            the workloads
#   logs            of worker 0 of each slice: --workload=NAME [--lines=100]
#   delete          ends a workload: --workload=NAME
#   delete_cluster
#
#   --zone=Z --project=P   where gcloud's defaults do not hold
#   --image=I   has this code and jax installed; without it, COMMAND runs in
#               python:3.12 with this folder, where both are installed first
#   --more="..."  further flags of xpk, e.g. "--storage=bucket --priority=high"
#   --dry_run   prints what would run
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

verbs='create, run, list, logs, delete or delete_cluster'
[ $# -gt 0 ] || fail "what to do? launch/gke_xpk.sh $verbs"
verb=$1
shift
cluster='' workload='' type='' slices=1 zone='' project='' image=''
max_restarts=100 lines=100 more='' spot='' command=()
parse "cluster workload type slices zone project image max_restarts lines more" "$@"
positive slices lines max_restarts
[ "$verb" = run ] || [ ${#command[@]} = 0 ] ||
  fail "$verb takes no command; run does"
given cluster "$cluster"
need xpk 'pip install xpk'
place=("--cluster=$cluster")
[ -z "$zone" ] || place+=("--zone=$zone")
[ -z "$project" ] || place+=("--project=$project")
read -ra words <<<"$more"

xpk_of() { # WORD...: of xpk, with where and what else was asked for
  run xpk "$@" "${place[@]}" ${words[@]+"${words[@]}"}
}

case $verb in
  create)
    given type "$type"
    xpk_of cluster create "--tpu-type=$type" "--num-slices=$slices" \
      ${spot:+--spot}
    ;;
  run)
    given workload "$workload"
    given type "$type"
    [ ${#command[@]} -gt 0 ] || fail "run what? launch/gke_xpk.sh run ... -- COMMAND"
    line=$(quote "${command[@]}")
    if [ "$image" ]; then
      code=("--docker-image=$image")
    else
      code=(--base-docker-image=python:3.12 "--script-dir=$(cd "$here/.." && pwd)")
      # exec: signals are for the command
      line="sh launch/setup.sh && .venv/bin/python -m pip install -q 'jax[tpu]' \
&& export PATH=\"\$PWD/.venv/bin:\$PATH\" && exec $line"
    fi
    xpk_of workload create "--workload=$workload" "--tpu-type=$type" \
      "--num-slices=$slices" ${spot:+--spot} "--max-restarts=$max_restarts" \
      --restart-on-exit-codes=75 "${code[@]}" "--command=$line"
    ;;
  list) xpk_of workload list ;;
  logs)
    given workload "$workload"
    need kubectl https://kubernetes.io/docs/tasks/tools
    xpk_of workload list "--filter-by-job=$workload" # it tells kubectl where
    worker=batch.kubernetes.io/job-completion-index=0
    run kubectl logs \
      "--selector=jobset.sigs.k8s.io/jobset-name=$workload,$worker" \
      --all-containers --prefix "--tail=$lines"
    ;;
  delete)
    given workload "$workload"
    xpk_of workload delete "--workload=$workload" --force
    ;;
  delete_cluster) xpk_of cluster delete --force ;;
  *) fail "unknown verb '$verb': $verbs" ;;
esac

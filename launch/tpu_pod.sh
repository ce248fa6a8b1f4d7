#!/bin/bash
# TPU VM pods, one slice or many, through queued resources.
#
#   launch/tpu_pod.sh VERB --name=NAME --zone=ZONE [--FLAG=VALUE...] [-- COMMAND]
#
#   create    asks for the slices and waits until they are there
#   sync      copies this code to ~/early_experience on all workers
#   install   makes .venv there, with jax for TPU
#   run       runs COMMAND on all workers to its end. Exit code 75, and slices
#             that were preempted, are tried again: given --type, run makes the
#             slices (again) with the code on them
#   logs      the last lines of worker 0 (--lines=100)
#   stop      asks COMMAND to save and leave; ends `run` too
#   delete    gives the slices back
#
#   --project=P   --type=v5litepod-256   --slices=1   --spot   --retries=100
#   --version=... of the VM's software; follows from --type
#   --more="..."  further flags of create, e.g. "--reserved --network=mine"
#   --dry_run     prints what would run, as if nothing failed
#
# All workers must see the workdir: a network disk or a mounted bucket.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

verbs='create, sync, install, run, logs, stop or delete'
[ $# -gt 0 ] || fail "what to do? launch/tpu_pod.sh $verbs"
verb=$1
shift
name='' zone='' project='' type='' version='' slices=1
retries=100 lines=100 more='' spot='' command=()
parse "name zone project type version slices retries lines more" "$@"
positive slices retries lines
[ "$verb" = run ] || [ ${#command[@]} = 0 ] ||
  fail "$verb takes no command; run does"
given name "$name"
given zone "$zone"
need gcloud https://cloud.google.com/sdk/docs/install
poll=${POLL_SECONDS:-30}
resource=(gcloud compute tpus queued-resources)
place=("--zone=$zone")
[ -z "$project" ] || place+=("--project=$project")
everywhere=("${place[@]}" --node=all --worker=all --quiet)

on_all() { # COMMAND-LINE
  run "${resource[@]}" ssh "$name" "${everywhere[@]}" --command="$1"
}

state() { # prints ACTIVE, SUSPENDED, ...; ABSENT; nothing if it is unknown
  local said told # gcloud warns where it works, too
  told=$(mktemp)
  if said=$(ask ACTIVE "${resource[@]}" describe "$name" "${place[@]}" \
    '--format=value(state.state)' 2>"$told"); then
    echo "$said"
  elif grep -q NOT_FOUND "$told"; then
    echo ABSENT
  else
    cat "$told" >&2
  fi
  rm -f "$told"
}

create() {
  local flags=("${place[@]}" "--accelerator-type=$type") words
  given type "$type"
  case $type in
    v5litepod-*) version=${version:-v2-alpha-tpuv5-lite} ;;
    v5p-*) version=${version:-v2-alpha-tpuv5} ;;
    v6e-*) version=${version:-v2-alpha-tpuv6e} ;;
    v[234]-*) version=${version:-tpu-ubuntu2204-base} ;;
  esac
  [ "$version" ] || fail "--type=$type is not known: give --version too"
  flags+=("--runtime-version=$version")
  if [ "$slices" = 1 ]; then
    flags+=("--node-id=$name")
  else
    flags+=("--node-count=$slices" "--node-prefix=$name")
  fi
  [ -z "$spot" ] || flags+=(--spot)
  read -ra words <<<"$more"
  run "${resource[@]}" create "$name" "${flags[@]}" \
    ${words[@]+"${words[@]}"} --quiet
  wait_until_active
}

wait_until_active() {
  local now
  while :; do
    now=$(state)
    case $now in
      ACTIVE) return ;;
      FAILED | SUSPEND* | ABSENT)
        echo "error: $name is $now" >&2
        return 1
        ;;
    esac
    echo "$name is ${now:-not answering}; Ctrl-C gives up waiting, not $name" >&2
    sleep "$poll"
  done
}

sync() {
  local archive=${TMPDIR:-/tmp}/early_experience-$name.tgz
  run tar -czf "$archive" --exclude=__pycache__ -C "$here/.." \
    setup.py README.md configs early_experience launch
  run "${resource[@]}" scp "$archive" "$name:early_experience.tgz" \
    "${everywhere[@]}"
  on_all 'mkdir -p early_experience && cd early_experience && rm -rf configs early_experience launch && tar -xzf ../early_experience.tgz'
}

install() {
  # Images of older TPUs have an older Python: then uv, for setup.sh to use.
  local get_uv='python3 -m pip install -q --user uv' is_new
  is_new='python3 -c "import sys; sys.exit(sys.version_info < (3, 11))"'
  on_all "cd early_experience && { $is_new || $get_uv; } && \
PATH=\"\$HOME/.local/bin:\$PATH\" sh launch/setup.sh && \
.venv/bin/python -m pip install -q 'jax[tpu]'"
}

delete() {
  run "${resource[@]}" delete "$name" "${place[@]}" --force --quiet
}

again() { # makes slices that are not there, with the code on them
  [ "$type" ] || fail "$name is $1: give --type, and --slices and --spot as it" \
    "was created with, and run makes it again"
  [ "$1" = ABSENT ] || delete
  create && sync && install
}

# Runs the command to its end, over all preemptions; returns its exit code.
run_to_the_end() {
  local now ends code begun='' known=''
  while [ "$retries" -gt 0 ]; do
    now=$(state)
    case $now in
      ACTIVE) ;;
      FAILED | SUSPENDED | ABSENT)
        begun=''
        again "$now" || now=''
        ;;
      '') [ "$known" ] || return 1 ;; # gcloud said why; later, we are offline
      *) now='' ;;                    # it is changing
    esac
    known=1
    if [ "$now" ] && { [ "$begun" ] ||
      on_all "cd early_experience && sh launch/job.sh start $(quote "$@")"; }; then
      begun=1
      ends=$(ask 'exit 0' "${resource[@]}" ssh "$name" "${everywhere[@]}" \
        '--command=cd early_experience && sh launch/job.sh wait' || true)
      # All have ended when any answered, for the connection waits for all.
      code=$(sed -n 's/^exit \([0-9]*\)$/\1/p' <<<"$ends" | sort -nu | paste -sd ' ' -)
    else
      code=''
    fi
    case " $code " in
      ' 0 ') return 0 ;;
      *' 130 '*)
        echo 'stopped' >&2
        return 130
        ;;
      *' 75 '*) begun='' ;;
      '  ') ;; # the connection broke: look whether the slices are there
      *)
        sleep "$poll" # what was preempted is not ACTIVE for long
        if [ "$(state)" = ACTIVE ]; then
          echo "error: exit code ${code##* }: launch/tpu_pod.sh logs" \
            "--name=$name --zone=$zone" >&2
          return "${code##* }"
        fi
        ;;
    esac
    retries=$((retries - 1))
    echo "$name: again ($retries tries left)" >&2
    sleep "$poll"
  done
  echo "error: no tries left" >&2
  return 75
}

case $verb in
  create | sync | install | delete) "$verb" ;;
  run)
    [ ${#command[@]} -gt 0 ] || fail "run what? launch/tpu_pod.sh run ... -- COMMAND"
    run_to_the_end "${command[@]}"
    ;;
  logs)
    run "${resource[@]}" ssh "$name" "${place[@]}" --node=0 --worker=0 --quiet \
      --command="cd early_experience && sh launch/job.sh log $lines"
    ;;
  stop) on_all 'cd early_experience && sh launch/job.sh stop' ;;
  *) fail "unknown verb '$verb': $verbs" ;;
esac

#!/bin/sh
# One job in the background of this machine, which outlives the connection.
#
#   sh launch/job.sh start COMMAND...   starts it, unless one is under way
#   sh launch/job.sh wait               waits for its end, prints `exit CODE`
#   sh launch/job.sh stop               asks it to save and leave
#   sh launch/job.sh log [LINES]        the end of what it printed
#
# tpu_pod.sh calls it on every worker.
set -eu
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."
job=.job
grace=${GRACE_SECONDS:-120}

# Where nobody reaps orphans (a container without an init), the dead stay listed.
alive() {
  [ -s $job/pid ] && kill -0 "$(cat $job/pid)" 2>/dev/null &&
    grep -qs '^State:.[^Z]' "/proc/$(cat $job/pid)/status"
}

verb=${1:-}
[ $# = 0 ] || shift
case $verb in
  start)
    [ $# -gt 0 ] || {
      echo "error: start what? sh launch/job.sh start COMMAND..." >&2
      exit 2
    }
    if alive; then
      echo "already under way: process $(cat $job/pid)"
      exit 0
    fi
    mkdir -p $job
    rm -f $job/exit $job/stopped
    # shellcheck disable=SC2016  # for the inner shell, which notes the code
    PATH=$PWD/.venv/bin:$PATH setsid sh -c \
      'trap : TERM; "$@"; echo $? >.job/exit' sh "$@" \
      >>$job/log 2>&1 </dev/null &
    echo $! >$job/pid
    ;;
  wait)
    while alive; do sleep 1; done
    if [ -e $job/stopped ]; then
      echo "exit 130"
    else # killed from outside, it could not note its code
      echo "exit $(cat $job/exit 2>/dev/null || echo 137)"
    fi
    ;;
  stop)
    alive || exit 0
    touch $job/stopped
    kill -TERM "-$(cat $job/pid)" || ! alive # it may end by itself meanwhile
    while alive && [ "$grace" -gt 0 ]; do
      sleep 1
      grace=$((grace - 1))
    done
    ! alive || kill -KILL "-$(cat $job/pid)" || ! alive
    ;;
  log) tail -n "${1:-100}" $job/log ;;
  *)
    echo "error: unknown verb '$verb': start, wait, stop or log" >&2
    exit 2
    ;;
esac

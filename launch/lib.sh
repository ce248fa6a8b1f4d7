# Read by the launchers. `run` and `ask` are the only ways to a command: both
# print it instead where --dry_run was given.
# shellcheck shell=bash
dry_run=
exec 3>&1 # what a dry run prints, from within $(...) too

. "${BASH_SOURCE[0]%/*}/help.sh"

fail() { # MESSAGE...: bad input
  echo "error: $*" >&2
  exit 2
}

# WORD...: as one line that can be pasted.
quote() {
  local LC_ALL=C word line='' apostrophe="'\"'\"'"
  for word; do
    if [[ $word =~ ^[A-Za-z0-9_@%+=:,./-]+$ ]]; then
      line+=" $word"
    else
      line+=" '${word//\'/$apostrophe}'"
    fi
  done
  echo "${line# }"
}

run() { # COMMAND...
  if [ "$dry_run" ]; then quote "$@" >&3; else "$@"; fi
}

ask() { # ANSWER COMMAND...: its output; in a dry run the ANSWER
  local answer=$1
  shift
  if [ "$dry_run" ]; then
    quote "$@" >&3
    echo "$answer"
  else
    "$@"
  fi
}

# NAMES ARGUMENT...: `--NAME=VALUE` sets NAME; what follows `--` is `command`.
# shellcheck disable=SC2034  # spot, command: read by the launchers
parse() {
  local names=" $1 " flag
  shift
  while [ $# -gt 0 ]; do
    flag=${1%%=*} flag=${flag#--}
    case $1 in
      --spot) spot=1 ;;
      --dry_run) dry_run=1 ;;
      --)
        shift
        command=("$@")
        break
        ;;
      --?*=*)
        [[ $names == *" $flag "* ]] || fail "unknown argument '$1'; see the head of $0"
        printf -v "$flag" %s "${1#*=}"
        ;;
      *) fail "unknown argument '$1'; see the head of $0" ;;
    esac
    shift
  done
}

positive() { # NAME...: fails where one of these variables is not
  local name
  for name; do
    [[ ${!name} =~ ^[1-9][0-9]*$ ]] || fail "--$name=${!name} is no positive number"
  done
}

need() { # TOOL WHERE-FROM
  [ "$dry_run" ] || command -v "$1" >/dev/null ||
    fail "$1 is not installed: $2"
}

given() { # FLAG VALUE: fails where a flag was left out
  [ "$2" ] || fail "--$1 is missing; see the head of $0"
}

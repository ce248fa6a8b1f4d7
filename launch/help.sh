# shellcheck shell=sh
# Read by the launchers: --help prints the caller's head.
case ${1:-} in -h | --help)
  sed -n '2,/^set /s/^# \{0,1\}//p' "$0"
  exit
  ;;
esac

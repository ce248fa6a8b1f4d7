#!/bin/bash
# A Slurm cluster of this one machine, for as long as a command runs.
#
#   tests/slurm_here.sh FOLDER COMMAND...
#
# FOLDER gets its settings, states and logs; as root, with Debian's packages
# slurmctld, slurmd, slurm-client and munge. SLURM_CONF tells COMMAND of it.
set -euo pipefail
folder=$1
shift
mkdir -p "$folder/spool" "$folder/state" "$folder/munge"
folder=$(cd "$folder" && pwd)
host=$(hostname -s)
cpus=${CPUS:-2}

# A port of its own for each daemon, so that clusters do not meet.
port=$((20000 + $$ % 20000))
export SLURM_CONF=$folder/slurm.conf
cat >"$SLURM_CONF" <<CONF
ClusterName=here
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmctldPort=$port
SlurmdPort=$((port + 1))
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
CryptoType=crypto/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
KillWait=30
MinJobAge=3600
SchedulerParameters=batch_sched_delay=1,sched_interval=5
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cpus State=UNKNOWN
PartitionName=here Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF

daemons=()
end() {
  scancel --quiet --user=root || true
  sleep 1 # steps that linger would outlive their slurmd
  kill "${daemons[@]}" 2>/dev/null || true
  sleep 1
  kill -KILL "${daemons[@]}" 2>/dev/null || true
  wait
} 2>/dev/null
trap end EXIT
chown -R munge: "$folder/munge"
chmod 711 "$folder" "$folder/munge"
head -c 1024 /dev/urandom >"$folder/munge/key"
chown munge: "$folder/munge/key"
chmod 400 "$folder/munge/key"
setpriv --reuid=munge --regid=munge --clear-groups \
  munged --foreground --force --key-file="$folder/munge/key" \
  --socket="$folder/munge/socket" --pid-file="$folder/munge/pid" \
  --seed-file="$folder/munge/seed" --log-file="$folder/munge/log" &
daemons+=($!)
for _ in $(seq 300); do
  [ ! -S "$folder/munge/socket" ] || break
  sleep 0.1
done
[ -S "$folder/munge/socket" ] || {
  echo "munged made no socket in $folder/munge: is every folder above it open" \
    "to its user?" >&2
  exit 1
}
slurmctld -D -c >"$folder/slurmctld.out" 2>&1 &
daemons+=($!)
slurmd -D -c >"$folder/slurmd.out" 2>&1 &
daemons+=($!)
for _ in $(seq 60); do
  ! sinfo -h -o %T 2>/dev/null | grep -q idle || break
  sleep 1
done
sinfo -h -o '%N: %T, %c CPUs' || {
  tail -n 20 "$folder"/slurm*.out "$folder"/munge/log >&2
  exit 1
}
"$@"

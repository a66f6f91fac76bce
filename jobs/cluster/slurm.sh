#!/bin/bash
# A run or sweep on the nodes of one Slurm job: a Ray cluster of its own, with a token of its own.
#
#   sbatch jobs/cluster/slurm.sh run configs/papers/gradnorm/imagenet.yaml \
#       --set dataset.root=/data/imagenet \
#       --set compute.train_workers=4 --set compute.cpus_per_worker=7 --out /shared/runs/imagenet-0
#
# Arguments are those of `rayal`: run, sweep or score. Submit from the project's folder, with its
# environment active; project, --out and data must lie on storage that all nodes see. A job that is
# preempted or loses a node is requeued and continues. One that ran out of time does so by the same
# command:
#
#   sbatch --dependency=afterany:JOB jobs/cluster/slurm.sh ...the same arguments...
#
#SBATCH --job-name=rayal
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=1
#SBATCH --mem=64G
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=rayal-%j.log

# --signal: this shell gets SIGTERM two minutes before the end, and rayal stops at a safe point.

set -euo pipefail

files=$SLURM_SUBMIT_DIR/jobs/cluster
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]} # where this script runs, too

# The token is in a file that only this user can read: others see command lines, and Slurm keeps
# environments. The home folder is the same on all nodes.
mkdir -p "$HOME/.rayal"
private=$(mktemp -d "$HOME/.rayal/job-$SLURM_JOB_ID.XXXXXX") # mode 0700
(umask 077 && python -c 'import secrets; print(secrets.token_hex(32), end="")' > "$private/token")
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$private/token
export RAY_USAGE_STATS_ENABLED=0 PYTHONUNBUFFERED=1
unset RAY_AUTH_TOKEN RAY_ADDRESS # they would win
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1} # else a step of srun's gets one core

# Other jobs may share a node, so folder and port have this job's number, and other ports are any
# that are free. No dashboard: the driver runs here, and nobody submits anything.
temp=/tmp/rayal-$SLURM_JOB_ID # short: sockets in it have paths of 107 characters at most
port=$((20000 + SLURM_JOB_ID % 10000))
address=$(python -c 'import socket, sys; print(socket.gethostbyname(sys.argv[1]))' "$head"):$port
ray=(ray start --block --num-cpus="$SRUN_CPUS_PER_TASK" --temp-dir="$temp/ray"
  --min-worker-port=0 --max-worker-port=0 --dashboard-agent-listen-port=0)
if [[ -n ${SLURM_MEM_PER_NODE:-} ]]; then # MB; Ray would take 30 % of the machine's
  ray+=(--object-store-memory=$((SLURM_MEM_PER_NODE * 1024 * 1024 * 3 / 10)))
fi
everywhere=(srun --overlap --nodes="${#nodes[@]}" --ntasks="${#nodes[@]}")

driver=
signals=0
# shellcheck disable=SC2329 # the traps call both
cleanup() {
  trap '' TERM INT
  # shellcheck disable=SC2046 # one word per process
  kill -TERM $(jobs -pr) 2> /dev/null || true
  wait || true
  "${everywhere[@]}" rm -rf "$temp" || true
  rm -rf "$private"
}
# shellcheck disable=SC2329
stop() {
  signals=$((signals + 1))
  [[ -n $driver ]] || exit 130 # the run has not begun
  kill -TERM "$driver" 2> /dev/null || true
}
trap cleanup EXIT
trap stop TERM INT

# Ray makes its folder readable for everybody; this one around it is not.
# shellcheck disable=SC2016 # the node's shell expands it
"${everywhere[@]}" bash -c 'rm -rf "$1" && mkdir -m 700 "$1"' -- "$temp"

# In the background, all of it: a trap has to wait for the end of what is in the foreground.
srun --overlap --nodes=1 --ntasks=1 --nodelist="$head" "${ray[@]}" \
  --head --node-ip-address="${address%:*}" --port="$port" --include-dashboard=false &
if ((${#nodes[@]} > 1)); then
  srun --overlap --nodes=$((${#nodes[@]} - 1)) --ntasks=$((${#nodes[@]} - 1)) --exclude="$head" \
    "${ray[@]}" --address="$address" &
fi
python "$files/wait_for_nodes.py" "$address" "${#nodes[@]}" &
wait $!

RAY_ADDRESS=$address python -m rayal "$@" &
driver=$!
while true; do # a signal ends `wait` and not the driver
  before=$signals code=0
  wait "$driver" || code=$?
  ((signals > before)) || exit "$code"
done

#!/usr/bin/env bash
# Three machines on one network, and an administrator's beside them: world.sh DIRECTORY PROGRAM PACKAGE COMMANDS CHECKS
#
#   n1 n2 n3   copies of this machine (an overlay over its files, kept in memory), each with systemd, a process space and
#              a network of its own: 10.0.0.1, 10.0.0.2, 10.0.0.3
#   admin      this machine's files and processes, in the directory DIRECTORY/admin: 10.0.0.100
#
# COMMANDS has a line for each command: who (admin, each, or a machine), a tab, the command. `each` is each of the three.
# CHECKS is a script that may use `on MACHINE COMMAND` and is run after them. `scp` copies into a machine's files; all
# other commands are the real ones.
#
# It runs as root within `unshare --mount --net --pid --fork --kill-child`: whatever it leaves goes with its namespaces,
# but for the control groups, which it removes.
set -euo pipefail

dir=$1 program=$2 package=$3 commands=$4 checks=$5
machines=(n1 n2 n3)
address=10.0.0
# The directory is this run's own, so its name is a name for the control groups too.
world=quorate-world-$(basename "$dir")

say() { printf '%s\n' "$*"; }
die() { say "world: $*" >&2; exit 1; }

# Every hierarchy of control groups has a group for each machine: two machines in one would take each other's services.
groups() { findmnt --noheadings --list --output TARGET --types cgroup,cgroup2; }
# Those of processes that were just killed are in use for a moment.
remove_groups() {
    local root deadline=$((SECONDS + 5))
    for root in $(groups); do
        until find "$root" -depth -type d -path "$root/$world-*" -exec rmdir {} + 2>/dev/null || ((SECONDS > deadline)); do
            sleep 0.1
        done
    done
}

declare -A leader supervisor
end() {
    local code=$?
    if ((code != 0)); then
        for machine in "${machines[@]}"; do
            say "--- journal of $machine"
            on "$machine" journalctl --no-pager --quiet --lines 60 --unit quorate 2>&1 || tail -20 "$dir/$machine.console"
        done
    fi
    local pids=("${leader[@]}" "${supervisor[@]}")
    ((${#pids[@]} == 0)) || kill -KILL "${pids[@]}" 2>/dev/null || true
    { wait; } 2>/dev/null
    remove_groups
    exit "$code"
}
trap end EXIT

on() {
    local machine=$1
    shift
    # Standard input stays with whoever called.
    nsenter --target "${leader[$machine]}" --mount --uts --ipc --net --pid --root --wd -- \
        env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive TERM=dumb \
        bash -c 'cd /root && eval "$1"' bash "$*" </dev/null
}

network() {
    mount -t tmpfs tmpfs /run
    ip link set lo up
    ip link add world type bridge
    ip addr add "$address.100/24" dev world
    ip link set world up
    for n in 1 2 3; do
        ip netns add "n$n"
        ip link add "to-n$n" type veth peer name eth0 netns "n$n"
        ip link set "to-n$n" master world up
        ip -n "n$n" addr add "$address.$n/24" dev eth0
        ip -n "n$n" link set eth0 up
        ip -n "n$n" link set lo up
    done
}

boot() {
    local machine=$1 root
    mkdir -p "$dir/$machine"
    mount -t tmpfs tmpfs "$dir/$machine"
    mkdir "$dir/$machine/upper" "$dir/$machine/work" "$dir/$machine/root"
    mount -t overlay overlay "$dir/$machine/root" \
        -o "lowerdir=/,upperdir=$dir/$machine/upper,workdir=$dir/$machine/work"
    tr -d - </proc/sys/kernel/random/uuid >"$dir/$machine/root/etc/machine-id"
    echo "$machine" >"$dir/$machine/root/etc/hostname"
    (
        for root in $(groups); do
            mkdir -p "$root/$world-$machine"
            # A cpuset has to be given what it may use before it takes a process.
            for file in cpuset.cpus cpuset.mems; do
                [[ ! -e "$root/$file" ]] || cat "$root/$file" >"$root/$world-$machine/$file"
            done
            echo "$BASHPID" >"$root/$world-$machine/cgroup.procs"
        done
        exec systemd-nspawn --quiet --register=no --keep-unit --boot --console=read-only --link-journal=no \
            --machine="$machine" --directory="$dir/$machine/root" --network-namespace-path="/run/netns/$machine" \
            --resolv-conf=off --timezone=off systemd.unit=basic.target
    ) <"/dev/null" >"$dir/$machine.console" 2>&1 &
    supervisor[$machine]=$!
}

# Looks until a command succeeds.
until_succeeds() {
    local what=$1 deadline=$((SECONDS + 60))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || die "not within 60 s: $what"
        sleep 0.1
    done
}

is_up() {
    leader[$1]=$(pgrep --parent "${supervisor[$1]}" | head -1)
    [[ -n "${leader[$1]}" ]] && on "$1" systemctl is-active basic.target
}

run() {
    local who=$1 command=$2
    case $who in
    admin)
        say "admin\$ $command"
        (cd "$dir/admin" && PATH="$dir/bin:$PATH" bash -c "$command") </dev/null
        ;;
    each)
        for machine in "${machines[@]}"; do
            run "$machine" "$command"
        done
        ;;
    *)
        say "$who# $command"
        on "$who" "$command"
        ;;
    esac
}

mkdir -p "$dir/admin" "$dir/bin"
ln -s "$program" "$dir/bin/quorate"
cp "$package" "$dir/admin/"
cat >"$dir/bin/scp" <<SCP
#!/usr/bin/env bash
# scp FILE.. root@10.0.0.N:DIRECTORY, into the files of machine nN.
set -euo pipefail
target=\${!#}
[[ "\$target" =~ ^root@$address\.([1-3]):(.*)\$ ]] || { echo "scp: no machine for \$target" >&2; exit 1; }
into=\${BASH_REMATCH[2]}
[[ "\$into" == /* ]] || into=/root/\$into
cp "\${@:1:\$#-1}" "$dir/n\${BASH_REMATCH[1]}/root\$into/"
SCP
chmod +x "$dir/bin/scp"

network
for machine in "${machines[@]}"; do boot "$machine"; done
for machine in "${machines[@]}"; do until_succeeds "$machine boots" is_up "$machine"; done
while IFS=$'\t' read -r -u 3 who command; do
    run "$who" "$command"
done 3<"$commands"
say "--- checks"
source "$checks"
say "--- done"

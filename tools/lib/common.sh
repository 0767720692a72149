# shellcheck shell=bash
# shellcheck disable=SC2034  # used by the files that source this one
# Paths, messages, ports and background processes. Every script in tools/ sources tools/lib/all.sh, never this alone.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)"
# A locale that every Debian has: Perl, in which psql and createdb are wrapped, warns at length about a missing one.
export LC_ALL=C.UTF-8

say() { printf '%s %s\n' "$(date +%T)" "$*" >&2; }

die() {
    say "error: $*"
    exit 1
}

# apt-get may end well after a Ctrl-C, with the packages half installed, and no script must go on then.
trap 'say "interrupted; run it again to continue"; exit 130' INT

short_hash() { printf '%s' "$1" | sha256sum | cut -c1-12; }

if [ "$EUID" = 0 ]; then
    # Not in HOME: PostgreSQL runs as another user than root, who may not enter it.
    BASE=/var/lib/stock_event_ledger
else
    BASE="${XDG_STATE_HOME:-$HOME/.local/state}/stock_event_ledger"
fi
# What this checkout alone uses: databases, queues, ports, logs.
STATE="$(realpath -m "${SEL_STATE:-$BASE/$(short_hash "$ROOT")}")"
# What checkouts share: the unpacked Odoo and the Python environments, each named after its version.
CACHE="$BASE/cache"
ID="$(short_hash "$STATE")"
# A unix socket's path may have 107 bytes and RabbitMQ's scripts break at a space, so both get this short name.
SOCKETS="/tmp/sel-$EUID-${ID:0:8}"
LOGS="$STATE/log"

mkdir -p "$STATE"/{addons,log,ports,run} "$CACHE"

# quietly LABEL COMMAND...: one line of progress, the output kept in a log and shown where the command fails.
quietly() {
    local label="$1" started=$SECONDS log status alive
    log="$(mktemp "$LOGS/step.XXXXXX")"
    shift
    say "$label ..."
    # Says every 30 s that the step goes on. It ends with the pipe, hence with this script, however that ends.
    exec {alive}> >(
        exec 8>&- 9>&-
        while read -r -t 30 || [ $? -gt 128 ]; do say "$label: $((SECONDS - started)) s so far"; done
    )
    # Not as an "if" of its own, where bash ignores what fails inside a function.
    set +e
    (
        set -e
        "$@"
    ) >"$log" 2>&1 </dev/null {alive}>&-
    status=$?
    set -e
    exec {alive}>&-
    if [ "$status" != 0 ]; then
        tail -n 40 "$log" >&2
        die "failed: $label (the whole output: $log)"
    fi
    # What Odoo complains about must not get lost in a step that succeeds.
    grep -E '^[0-9-]+ [0-9:,]+ [0-9]+ (WARNING|ERROR|CRITICAL) ' "$log" >&2 || true
    cat "$log" >>"$LOGS/steps.log"
    rm -f "$log"
    say "$label: $((SECONDS - started)) s"
}

# locked FILE COMMAND...: one at a time. Descriptor 9 holds the lock; whatever stays in the background must close it.
locked() {
    local file="$1"
    shift
    (
        flock -w 900 9 || die "another process holds $file for too long"
        "$@"
    ) 9>"$file"
}

# --- ports: chosen once, from the checkout's hash, and kept

port_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# take_port NAME: to be called while the service is down; replaces a port that someone else took meanwhile.
take_port() {
    local file="$STATE/ports/$1" number index
    if [ -s "$file" ] && ! port_taken "$(<"$file")"; then
        return
    fi
    case "$1" in http) index=0 ;; gevent) index=1 ;; amqp) index=2 ;; dist) index=3 ;; epmd) index=4 ;; *) die "no such port: $1" ;; esac
    # Below 32768, where the kernel takes its own ports from.
    number=$((18000 + 0x${ID:0:6} % 1400 * 10 + index))
    while port_taken "$number"; do
        number=$((number + 10))
        [ "$number" -lt 32768 ] || die "no free port"
    done
    echo "$number" >"$file"
}

port() {
    [ -s "$STATE/ports/$1" ] || take_port "$1"
    cat "$STATE/ports/$1"
}

# --- background processes: the pid file also keeps the start time, so that a number used again is never killed

started_at() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

# running NAME: prints the pid
running() {
    local pid time
    read -r pid time 2>/dev/null <"$STATE/run/$1.pid" || return 1
    [ -n "$pid" ] && [ "$(started_at "$pid")" = "$time" ] || return 1
    # A zombie has ended, whoever should have waited for it.
    ! grep -q '^State:.Z' "/proc/$pid/status" 2>/dev/null || return 1
    echo "$pid"
}

remember() { echo "$2 $(started_at "$2")" >"$STATE/run/$1.pid"; }

# launch NAME COMMAND...: in the background, in a session of its own, logging to log/NAME.log
launch() {
    local name="$1"
    shift
    setsid nohup "$@" </dev/null >>"$LOGS/$name.log" 2>&1 9>&- &
    remember "$name" $!
    # Or this script would report its death, whenever that is.
    disown
}

# end NAME: asks, waits, insists
end() {
    local name="$1" pid i
    if pid="$(running "$name")"; then
        say "stopping $name ($pid)"
        kill "$pid" 2>/dev/null || true
        for ((i = 0; i < 150; i++)); do
            running "$name" >/dev/null || break
            sleep 0.2
        done
        if running "$name" >/dev/null; then
            say "$name did not end within 30 s: killed"
            # The whole session: what it started must not outlive it.
            kill -9 -- "-$pid" 2>/dev/null || kill -9 "$pid" 2>/dev/null || true
        fi
    fi
    rm -f "$STATE/run/$name.pid"
}

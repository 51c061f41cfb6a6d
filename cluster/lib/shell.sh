# What every command of this folder shares. Sourced, never run.

set -euo pipefail

CHECKOUT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
: "${TESSERA_HOME:=$CHECKOUT/.tessera}"
: "${TESSERA_STARTED:=$(date +%s)}"
export CHECKOUT TESSERA_HOME TESSERA_STARTED

# One progress line: seconds since the command began, then what is being done.
step() { printf '[%3ds] %s\n' $(($(date +%s) - TESSERA_STARTED)) "$*"; }

# One clear line that says what is wrong and what to do, and the end of the command.
fail() {
    printf 'cluster: %s\n' "$*" >&2
    exit "${FAIL_STATUS:-1}"
}

# Runs a command of the Python half (cluster/lib/local).
local_cluster() { PYTHONPATH="$CHECKOUT/cluster/lib" python3 -B -m local "$@"; }

# Only one command at a time changes a state folder; the lock goes with this process.
lock_state() {
    mkdir -p "$TESSERA_HOME" 2>/dev/null ||
        fail "cannot create $TESSERA_HOME; give a writable folder in TESSERA_HOME"
    TESSERA_HOME="$(cd "$TESSERA_HOME" && pwd)"
    # A failing `exec` ends the shell, so the attempt is made in a subshell first.
    (: >>"$TESSERA_HOME/lock") 2>/dev/null ||
        fail "cannot write to $TESSERA_HOME; it belongs to $(stat -c %U "$TESSERA_HOME")"
    exec 9<>"$TESSERA_HOME/lock"
    flock --nonblock 9 ||
        fail "another command (pid $(cat "$TESSERA_HOME/lock")) works on $TESSERA_HOME; wait for it," \
            "or give this cluster a folder of its own in TESSERA_HOME"
    printf '%s\n' $$ >"$TESSERA_HOME/lock"
}

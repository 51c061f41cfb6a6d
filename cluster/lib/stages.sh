# The stages of cluster/test. Sourced.

# What a stage leaves: LOGS/STAGE.log and LOGS/*.xml, from which the last lines are counted.
LOGS="$CHECKOUT/.build/test-logs"
FAILED_STAGES=()

prepare_stages() {
    # Short, for the sockets in it; passable, for the user of PostgreSQL.
    SCRATCH="$(mktemp -d /tmp/tessera-test-XXXXXX)"
    chmod 711 "$SCRATCH"
    TESSERA_HOME="$SCRATCH/home"
    mkdir -p "$TESSERA_HOME"
    rm -rf "$LOGS"
    mkdir -p "$LOGS"
    unset SHARDS APP_NODES MEDIA_NODES SEARCH_NODES WORKERS COORDINATORS PORT_BASE HTTP_PORT HTTPS_PORT FEED_PUSH_THRESHOLD
    unset MOVE_MEGABYTES_PER_SECOND MOVE_RETENTION_SECONDS
    STAGE_PID=
    trap stop_everything EXIT
    trap 'exit 130' INT TERM
}

# Everything that this run started, by its own supervisors and process groups.
stop_everything() {
    local status=$? home
    [[ -z $STAGE_PID ]] || kill -KILL -- "-$STAGE_PID" 2>/dev/null || true
    for home in "$SCRATCH"/*/; do
        [[ -f $home/settings.json ]] || continue
        mkdir -p "$LOGS/$(basename "$home")"
        cp "$home"/logs/*.log "$LOGS/$(basename "$home")/" 2>/dev/null || true
        TESSERA_HOME="${home%/}" "$CHECKOUT/cluster/destroy" --yes >/dev/null 2>&1 || true
    done
    rm -rf "$SCRATCH"
    exit "$status"
}

# Runs one stage in a process group of its own, so that all of it can be ended when its time is over.
run_stage() {
    local stage="$1" budget="$2" log="$LOGS/$1.log" began status=0
    began=$(date +%s)
    step "$stage (at most $((budget / 60)) min)"
    set -m
    ("stage_$stage") >"$log" 2>&1 &
    STAGE_PID=$!
    set +m
    while kill -0 "$STAGE_PID" 2>/dev/null; do
        if (($(date +%s) - began > budget)); then
            kill -KILL -- "-$STAGE_PID" 2>/dev/null || true
            printf '\nthe stage took longer than %d s and was ended\n' "$budget" >>"$log"
            status=124
            break
        fi
        sleep 0.5
    done
    ((status)) || wait "$STAGE_PID" || status=$?
    STAGE_PID=
    if ((status)); then
        FAILED_STAGES+=("$stage")
        step "$stage: FAILED after $(($(date +%s) - began)) s; see ${log#"$CHECKOUT/"}"
        show_failures "$log"
    else
        step "$stage: done in $(($(date +%s) - began)) s"
    fi
    return "$status"
}

show_failures() {
    local lines
    lines="$(grep -aE '^(FAILED|ERROR|E   )|error:|✘|^cluster:' "$1" | cut -c1-220 | head -60)"
    if [[ -n $lines ]]; then sed 's/^/    /' <<<"$lines"; fi
    tail -5 "$1" | cut -c1-220 | sed 's/^/    /'
}

finish_stages() {
    python3 -B "$CHECKOUT/cluster/lib/count_tests.py" "$LOGS" "${FAILED_STAGES[@]}"
    exit $?
}

stage_packages() {
    install_packages
    create_environment
}

# The Python packages of the tests, in an environment beside the build.
create_environment() {
    VENV="$CHECKOUT/.build/test-venv"
    local wanted="$CHECKOUT/Tests/requirements.txt"
    if [[ ! -x $VENV/bin/pytest ]] || ! cmp -s "$wanted" "$VENV/installed.txt"; then
        rm -rf "$VENV"
        python3 -m venv "$VENV" || fail "python3 -m venv failed; is python3-venv installed?"
        "$VENV/bin/pip" install --quiet --disable-pip-version-check -r "$wanted"
        cp "$wanted" "$VENV/installed.txt"
    fi
}

stage_build() {
    check_toolchain
    cd "$CHECKOUT"
    time swift build "${BUILD_FLAGS[@]}" --build-tests
}

# The Swift suites that start servers of their own: PostgreSQL, memcached, etcd.
SERVER_SUITES='^(Accounts|Administration|Counters|Database|Etcd|Feed|Graph|Interactions|Jobs|Media|Memcache|Pages'
SERVER_SUITES+='|Postgres|Posts|ServiceKit|Visibility|worker)Tests\.'
# Those that need several servers, a few tests at a time.
MOVE_SUITES='^(shardctl|Journals|Movement)Tests\.'

# NAME, then how to choose the tests; no more than TESTS_AT_ONCE of them run together, where that is set.
run_swift_tests() {
    cd "$CHECKOUT"
    env ${TESTS_AT_ONCE:+SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH=$TESTS_AT_ONCE} \
        swift test "${BUILD_FLAGS[@]}" --skip-build --xunit-output "$LOGS/$1.xml" "${@:2}"
}

stage_values() {
    local status=0
    run_pytest Structure || status=1
    run_swift_tests values --parallel --skip "$SERVER_SUITES" --skip "$MOVE_SUITES" || status=1
    return "$status"
}

stage_integration() {
    local status=0
    TESTS_AT_ONCE=24 run_swift_tests servers --parallel --filter "$SERVER_SUITES" || status=1
    TESTS_AT_ONCE=3 run_swift_tests moves --parallel --filter "$MOVE_SUITES" || status=1
    integration_on_one_cluster || status=1
    return "$status"
}

integration_on_one_cluster() {
    TESSERA_HOME="$SCRATCH/integration" start_test_cluster 18000 SHARDS=4
    TESSERA_HOME="$SCRATCH/integration" run_pytest Integration
}

stage_kills() {
    mkdir -p "$SCRATCH/failpoints"
    TESSERA_HOME="$SCRATCH/kills" start_test_cluster 18600 SHARDS=2 WORKERS=1 \
        TESSERA_ALLOW_FAILPOINTS=1 TESSERA_FAILPOINTS="$SCRATCH/failpoints"
    TESSERA_HOME="$SCRATCH/kills" run_pytest Kills
}

stage_browser() {
    command -v chromium >/dev/null ||
        apt_get install --no-install-recommends chromium fonts-dejavu-core
    TESSERA_HOME="$SCRATCH/browser" start_test_cluster 19200 SHARDS=2
    TESSERA_HOME="$SCRATCH/browser" run_pytest Browser
}

# A cluster for a stage, on the first range of ports that is free.
start_test_cluster() {
    local from="$1" base
    shift
    base="$(python3 -B "$CHECKOUT/cluster/lib/free_ports.py" "$from")"
    mkdir -p "$TESSERA_HOME"
    env SKIP_PACKAGES=1 SKIP_BUILD=1 PORT_BASE="$base" HTTP_PORT=$((base + 1)) \
        HTTPS_PORT=$((base + 2)) "$@" "$CHECKOUT/cluster/up"
}

run_pytest() {
    create_environment
    cd "$CHECKOUT/Tests/$1"
    # shellcheck disable=SC2086 — several arguments are meant
    "$VENV/bin/python" -B -m pytest -v --tb=short --junitxml "$LOGS/$1.xml" ${PYTEST_ARGS:-}
}

# Checks the Swift toolchain and builds the roles. Sourced.

# The manifest asks for this version of the tools.
SWIFT_MINIMUM=6.2

# Product and tests share this one configuration, so nothing is compiled twice.
BUILD_FLAGS=(-c release -Xswiftc -enable-testing)

check_toolchain() {
    command -v swift >/dev/null ||
        fail "no Swift toolchain in PATH; install Swift $SWIFT_MINIMUM or later (swift.org/install)"
    local version
    version="$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9.]*\).*/\1/p' | head -1)"
    [[ -n $version ]] || fail "swift --version does not answer; is the toolchain complete?"
    [[ "$(printf '%s\n' "$SWIFT_MINIMUM" "$version" | sort -V | head -1)" == "$SWIFT_MINIMUM" ]] ||
        fail "Swift $version is too old; $SWIFT_MINIMUM or later is needed"
    step "Swift $version"
}

build_roles() {
    local log="$TESSERA_HOME/build.log"
    step "building in release mode, some minutes the first time (log: $log)"
    (cd "$CHECKOUT" && swift build "${BUILD_FLAGS[@]}") >"$log" 2>&1 9>&- ||
        fail "the build failed: $(grep -m1 'error:' "$log" || tail -1 "$log") (see $log)"
}

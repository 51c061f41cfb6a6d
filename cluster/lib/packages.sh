# Installs the Debian packages that are missing, without starting any of their services. Sourced.

PACKAGES=(
    # servers
    postgresql-15 memcached etcd-server etcd-client haproxy nats-server supervisor
    # libraries that the Swift targets link
    libuv1-dev libpq-dev libmemcached-dev libh2o-dev libsimdjson-dev libvips-dev libsodium-dev
    libssl-dev libutf8proc-dev
    # what the scripts and the compiler use
    ca-certificates curl g++ git libcurl4-openssl-dev libncurses6 libxml2 openssl pkg-config
    python3 python3-venv zlib1g-dev
)

# Services which Debian would start and enable, and which a cluster runs by itself.
SERVICES=(etcd haproxy memcached nats-server postgresql supervisor)

missing_packages() {
    local package
    for package in "${PACKAGES[@]}"; do
        [[ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" == installed ]] ||
            printf '%s\n' "$package"
    done
}

as_root() { if ((EUID == 0)); then "$@"; else sudo "$@"; fi; }

apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y \
        -o Dpkg::Options::=--force-confold -o DPkg::Lock::Timeout=300 "$@"
}

# While packages are installed, policy-rc.d refuses to start their services. One that was there before
# stays as it is.
POLICY=/usr/sbin/policy-rc.d
hold_services() {
    [[ -e $POLICY ]] && return
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$POLICY" >/dev/null
    as_root chmod 755 "$POLICY"
    trap 'as_root rm -f "$POLICY"' EXIT
}

release_services() {
    [[ "$(trap -p EXIT)" == *POLICY* ]] || return 0
    as_root rm -f "$POLICY"
    trap - EXIT
}

install_packages() {
    command -v dpkg-query >/dev/null || fail "this is not a Debian system; install by hand: ${PACKAGES[*]}"
    local missing
    mapfile -t missing < <(missing_packages)
    if ((${#missing[@]} == 0)); then
        step "Debian packages: all ${#PACKAGES[@]} are there"
        return
    fi
    step "Debian packages: installing ${missing[*]}"
    if ((EUID != 0)); then
        command -v sudo >/dev/null ||
            fail "packages are missing and there is no sudo; as root: apt-get install ${missing[*]}"
        sudo -v || fail "packages are missing and sudo refuses; as root: apt-get install ${missing[*]}"
    fi

    local log="$TESSERA_HOME/packages.log"
    : >"$log"
    hold_services
    apt_get update >>"$log" 2>&1 || fail "apt-get update failed; see $log"
    if [[ " ${missing[*]} " == *" postgresql-15 "* ]]; then
        # Debian's own PostgreSQL cluster on port 5432 is not wanted.
        apt_get install --no-install-recommends postgresql-common >>"$log" 2>&1 ||
            fail "postgresql-common cannot be installed; see $log"
        as_root sed -i "s/^#\?create_main_cluster.*/create_main_cluster = false/" \
            /etc/postgresql-common/createcluster.conf
    fi
    apt_get install --no-install-recommends "${missing[@]}" >>"$log" 2>&1 ||
        fail "apt-get install failed: $(grep -m1 '^E:' "$log" || echo "see $log")"
    release_services

    # On a machine with systemd the fresh services must not start at the next boot either.
    if [[ -d /run/systemd/system ]]; then
        local service
        for service in "${SERVICES[@]}"; do
            [[ " ${missing[*]} " == *" $service"* ]] || continue
            as_root systemctl disable --quiet "$service" >>"$log" 2>&1 || true
        done
    fi
}

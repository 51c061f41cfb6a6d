"""`cluster/up`: from nothing, or from any state in between, to a cluster that serves."""
import errno
import os

from . import accounts, balancer, budget, bus, catalog, folders, manual, nodes, pools, ports, rebalance, scaling, shards
from .console import Failure, step
from .layout import CHECKOUT, POOLS, Layout, Settings, state_folder
from .processes import Supervisor, wait_for


def check():
    """What can be refused before the build: settings, disk and ports."""
    home = state_folder()
    settings, _ = Settings.read(home)
    _check_checkout(home)
    folders.check_space(home)
    layout = Layout(settings, home)
    budget.check(layout)
    ports.check(layout, _ours(Supervisor(layout)))


def up():
    try:
        _up()
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise Failure(f"the disk is full ({error.filename or state_folder()});"
                          " free some and run cluster/up again") from None
        raise


def _up():
    home = state_folder()
    settings, kept = Settings.read(home)
    layout = Layout(settings, home)
    folders.check_space(home)
    _create(layout)
    if not all(folders.has_role(layout, role) for role in ("appnode", "worker", "coordinator", "shardctl")):
        raise Failure("the roles are not built; run cluster/up without SKIP_BUILD")
    supervisor = Supervisor(layout)
    ports.check(layout, _ours(supervisor))
    settings.keep(home)

    before = nodes.services(layout)
    changed_nodes = set(nodes.write(layout))
    bus.write(layout)
    supervisor.write()
    if supervisor.start():
        step("supervisord started")
    for name in supervisor.adopt():
        step(f"{name}: added")

    _start_infrastructure(layout, supervisor)
    _prepare_map(layout, kept)
    started = _start_roles(layout, supervisor)
    stale = [node for node in layout.roles if node not in started and (
        node.name in changed_nodes or nodes.runs_old_binary(supervisor, layout, node))]
    # A node that takes a service over has it before the balancer sends its requests, one that hands it over until then.
    gaining = [node for node in stale if set(layout.services(node)) - before.get(node.name, set(POOLS))]
    _restart(layout, supervisor, gaining)
    _start_balancer(layout, supervisor)
    _restart(layout, supervisor, [node for node in stale if node not in gaining])
    scaling.remove_surplus(layout, supervisor)
    accounts.create_administrator(layout)
    _grow(layout, supervisor)
    _tell(layout, kept)


def _check_checkout(home):
    """One state folder serves one checkout."""
    file = home / "checkout"
    if not file.exists():
        file.write_text(f"{CHECKOUT}\n")
    owner = file.read_text().strip()
    if owner != str(CHECKOUT) and os.path.isdir(owner) and not os.environ.get("TESSERA_BUILD"):
        raise Failure(f"{home} is the cluster of {owner}; give this one a folder of its own"
                      " in TESSERA_HOME")


def _ours(supervisor):
    return {name for name, process in supervisor.processes().items() if process["pid"]}


def _create(layout):
    folders.create_folders(layout)
    (layout.home / "map").mkdir(mode=0o700, exist_ok=True)
    if folders.create_secrets(layout):
        step(f"secrets made in {layout.secrets}")
    if folders.create_certificate(layout):
        step(f"development certificate made in {layout.tls}")
    made = shards.create(layout)
    if made:
        step(f"databases created: {', '.join(made)}")
    changed = folders.install_binaries(layout, folders.build_folder(CHECKOUT))
    if changed:
        step(f"binaries installed: {', '.join(changed)}")
    if "shardctl" in changed:
        manual.write(layout)


def _start_infrastructure(layout, supervisor):
    started = [node for node in layout.infrastructure if supervisor.start_process(node.name)]
    seconds = layout.settings.start_seconds
    wait_for(lambda: catalog.ready(layout), seconds, "etcd", layout.log("etcd"))
    wait_for(lambda: ports.is_open(layout.bus.port), seconds, "nats", layout.log("nats"))
    for node in layout.shards:
        wait_for(lambda node=node: shards.ready(layout, node), seconds, node.name,
                 layout.log(node.name))
    for node in layout.caches:
        wait_for(lambda node=node: ports.is_open(node.port), seconds, node.name,
                 layout.log(node.name))
    if started:
        step(f"started: {', '.join(node.name for node in started)}")
    if catalog.create_users(layout):
        step("etcd: users made, authentication on")


def _prepare_map(layout, kept):
    """Roles, database and schemas on each shard, then the map; the lines say what was not there."""
    migrations = ["--migrations", str(CHECKOUT / "Sources")]
    if kept and not nodes.has_map(layout):
        _rebuild_map(layout)
    for line in nodes.shardctl(
            layout, "init", *nodes.shard_options(layout), *migrations).splitlines():
        if line.startswith("map:") and "unchanged" not in line:
            step(f"shardctl init: {line}")
    done = nodes.shardctl(layout, "migrate", *migrations).splitlines()
    ran = sum(": ran " in line for line in done)
    if ran:
        step(f"shardctl migrate: {ran} migrations on {len(layout.shards)} shards")
    stored = pools.register(layout, is_new=not kept)
    if stored:
        step(f"shardctl pool init: {', '.join(stored)}")


def _rebuild_map(layout):
    """etcd has lost its data: the shards know what they own, and a node's copy knows the rest."""
    copies = sorted((layout.home / "map").glob("*.json"), key=lambda file: file.stat().st_mtime)
    known = ["--file", str(copies[-1])] if copies else []
    line = nodes.shardctl(layout, "map", "import", *known, *nodes.shard_options(layout)).strip()
    step(f"shardctl map import: {line}")


def _start_roles(layout, supervisor):
    started = [node for node in layout.roles if supervisor.start_process(node.name)]
    for node in started:
        nodes.wait_ready(layout, supervisor, node, layout.settings.start_seconds)
    if started:
        step(f"started: {', '.join(node.name for node in started)}")
    return started


def _restart(layout, supervisor, chosen):
    """With what is new: another binary, another configuration."""
    for service in layout.pools:
        mine = [node for node in chosen if node.service == service]
        if mine:
            scaling.restart_pool(layout, supervisor, service, mine)
    for node in chosen:
        if not node.service:
            nodes.restart(layout, supervisor, node, layout.settings.start_seconds)
            step(f"{node.name}: restarted")


def _start_balancer(layout, supervisor):
    seconds = layout.settings.start_seconds
    changed = balancer.write(layout)
    if supervisor.start_process("haproxy"):
        step("started: haproxy")
    elif changed:
        balancer.reload_and_wait(layout, supervisor)
        step("haproxy: reloaded")
    wait_for(lambda: nodes.answers(f"{layout.url}/readyz") == 200, seconds,
             f"{layout.url}/readyz", layout.log("haproxy"))
    for node in layout.app_nodes:
        balancer.wait_until_in_rotation(layout, node, seconds)


def _grow(layout, supervisor):
    """SHARDS above what there is: the new ones join as by cluster/grow."""
    more = layout.settings.shards - len(layout.settings.shard_numbers)
    pending = rebalance.Task.pending(layout)
    if pending:
        step(f"{pending} was begun and is not finished; run {pending.command} to go on")
    elif more > 0:
        rebalance.grow_by(layout, supervisor, more)


def _tell(layout, kept):
    ready = "The cluster is ready" if not kept else "The cluster runs"
    counts = layout.settings
    step(f"{ready}: {len(counts.shard_numbers)} shards, {len(layout.app_nodes)} app nodes, {counts.workers} workers,"
         f" {counts.coordinators} coordinators")
    print(f"""
  Address      {layout.url}
               {layout.secure_url}  (authority: {layout.tls / 'ca.pem'})
  Log in       as {accounts.ADMINISTRATOR} with the password in {layout.secrets / 'admin-password'},
               with any Mastodon app; the server's name is the address above
  What next    README.md: sign up, follow and post with curl
               cluster/status, cluster/logs app1, cluster/restart core, cluster/down""")

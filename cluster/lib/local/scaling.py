"""Pools of app nodes: more and fewer nodes, and restarts one after the other, while every request is answered."""
import argparse

from . import balancer, budget, control, folders, manual, nodes, ports, rebalance
from .console import REFUSED, USAGE, Failure, step
from .layout import CHECKOUT, MOST, MOST_OF_A_POOL, POOLS


def scale(arguments):
    parser = argparse.ArgumentParser(
        prog="cluster/scale", description="Sets how many app nodes a service has, while it is used.")
    parser.add_argument("service", choices=POOLS, help="whose pool")
    parser.add_argument("count", type=int, help="how many nodes it shall have, 1 or more")
    options = parser.parse_args(arguments)
    layout, supervisor = rebalance.running()
    most = MOST["app_nodes"] if options.service == "core" else MOST_OF_A_POOL
    if not 1 <= options.count <= most:
        raise Failure(f"a pool has 1 to {most} nodes", USAGE)
    if not layout.settings.nodes(options.service):
        raise Failure(f"{options.service} has no pool: it runs on core's nodes;"
                      f" {POOLS[options.service].upper()}_NODES=1 cluster/up gives it one", REFUSED)
    if options.count < layout.settings.nodes(options.service):
        _shrink(layout, supervisor, options.service, options.count)
    else:
        _grow(layout, supervisor, options.service, options.count)
    step(f"{options.service}: {options.count} node{'s' if options.count > 1 else ''}")


def _grow(layout, supervisor, service, count):
    """Each step may be done again: after an end anywhere the same command, or cluster/up, goes on."""
    new = [layout.app_node(service, index)
           for index in range(layout.settings.nodes(service) + 1, count + 1)]
    ports.require_free(node for node in new if not supervisor.pid(node.name))
    layout.settings.set_nodes(service, count)
    budget.check(layout)
    layout.settings.keep(layout.home)
    nodes.write(layout)
    supervisor.write()
    supervisor.adopt()
    seconds = layout.settings.start_seconds
    for node in layout.pool(service):
        supervisor.start_process(node.name)
    for node in layout.pool(service):
        nodes.wait_ready(layout, supervisor, node, seconds)
    if balancer.write(layout):
        balancer.reload_and_wait(layout, supervisor)
    for node in layout.pool(service):
        balancer.wait_until_in_rotation(layout, node, seconds)


def _shrink(layout, supervisor, service, count):
    leaving = layout.pool(service)[count:]
    for node in leaving:
        nodes.leave(layout, node)
    layout.settings.set_nodes(service, count)
    layout.settings.keep(layout.home)
    if balancer.write(layout):
        balancer.reload_and_wait(layout, supervisor)
    remove_surplus(layout, supervisor)


def remove_surplus(layout, supervisor):
    """Processes that the settings have no more; the balancer has let go of them already."""
    wanted = {node.name for node in layout.nodes}
    for name in sorted(set(supervisor.processes()) - wanted):
        supervisor.remove(name)
        (layout.config / f"{name}.yaml").unlink(missing_ok=True)
        step(f"{name}: stopped and removed")
    supervisor.write()


def restart_pool(layout, supervisor, service, chosen):
    """Restarts these nodes of a pool one after the other. A pool of one node has a second one meanwhile."""
    alone = layout.settings.nodes(service) == 1 and bool(balancer.servers(layout))
    if alone:
        _grow(layout, supervisor, service, 2)
    for node in chosen:
        nodes.restart(layout, supervisor, node, layout.settings.start_seconds)
        step(f"{node.name}: restarted")
    if alone:
        _shrink(layout, supervisor, service, 1)


def upgrade(arguments):
    parser = argparse.ArgumentParser(
        prog="cluster/upgrade",
        description="Installs what was built, migrates the shards, and restarts what runs an older binary, one process"
                    " after the other: the named services' nodes, or all nodes, workers and coordinators.")
    parser.add_argument("service", nargs="*", help=f"only these pools: {', '.join(POOLS)}")
    parser.add_argument("--all", action="store_true", help="restart also what runs this very binary")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.service if name not in POOLS]
    if unknown:
        raise Failure(f"there is no service {unknown[0]}; there are {', '.join(POOLS)}", USAGE)
    layout, supervisor = rebalance.running()
    changed = folders.install_binaries(layout, folders.build_folder(CHECKOUT))
    step(f"binaries installed: {', '.join(changed) or 'none is new'}")
    if "shardctl" in changed:
        manual.write(layout)
    run = control.attempt(layout, "migrate", "--migrations", str(CHECKOUT / "Sources"))
    if run.returncode:
        raise Failure(f"shardctl migrate: {control.last_line(run)}")
    for service in options.service or layout.pools:
        chosen = [node for node in layout.pool(service) if _is_due(layout, supervisor, node, options)]
        if chosen:
            restart_pool(layout, supervisor, service, chosen)
    for node in [] if options.service else [*layout.workers, *layout.coordinators]:
        if _is_due(layout, supervisor, node, options):
            nodes.restart(layout, supervisor, node, layout.settings.start_seconds)
            step(f"{node.name}: restarted")
    if balancer.write(layout):
        balancer.reload_and_wait(layout, supervisor)
        step("haproxy: reloaded with the services' new paths")


def _is_due(layout, supervisor, node, options):
    return options.all or nodes.runs_old_binary(supervisor, layout, node)


"""CPU of a cluster's processes, by what they are."""
import pathlib

from frame import cpu_of, ended_cpu, tree

GROUPS = {"app": "node", "shard": "postgres", "memcached": "memcached", "worker": "worker",
          "haproxy": "haproxy", "coordinator": "coordinator", "etcd": "etcd"}
# What a request costs: whoever answers it and whoever they ask.
OF_A_REQUEST = ("node", "postgres", "memcached")


class Accounting:
    """Reads the same processes over and over; one that was restarted needs a new one of these."""

    def __init__(self, processes):
        self.groups = {}
        for name, pid in processes.items():
            group = next((group for start, group in GROUPS.items() if name.startswith(start)), None)
            if group:
                self.groups.setdefault(group, []).append(pid)

    def seconds(self):
        """Group -> CPU seconds since the processes began."""
        found = {}
        for group, pids in self.groups.items():
            found[group] = 0.0
            for pid in pids:
                if pathlib.Path(f"/proc/{pid}").exists():
                    found[group] += sum(map(cpu_of, tree(pid))) + ended_cpu(pid)
        return found

    def during(self, act):
        """What `act` returns, and group -> CPU seconds used meanwhile."""
        before = self.seconds()
        result = act()
        after = self.seconds()
        return result, {group: after[group] - before[group] for group in after}

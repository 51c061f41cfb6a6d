"""Settings, folders, names and ports: everything that can be known without touching a process."""
import dataclasses
import hashlib
import json
import os
import pathlib
import pwd

from .console import Failure

CHECKOUT = pathlib.Path(__file__).resolve().parents[3]
TEMPLATES = CHECKOUT / "cluster" / "templates"
POSTGRES_BINARIES = pathlib.Path("/usr/lib/postgresql/15/bin")

# Above this the kernel hands ports out to outgoing connections.
EPHEMERAL_PORTS = 32768
PORT_RANGE = 500
# Ports of shards are base + 201 up to 299, so a shard's number is at most 99.
LARGEST_SHARD_NUMBER = 99
MOST = {"shards": 64, "app_nodes": 40, "workers": 40, "coordinators": 9}
# The services that may have a pool of app nodes of their own, and what its nodes are called. `NAME_NODES` says how many
# there are; without any, a service runs on the nodes of core.
POOLS = {"core": "app", "media": "media", "notifications": "notifications", "search": "search",
         "streaming": "streaming"}
# Ports of core's nodes are base + 101 up to 141, of the other pools' nodes base + 9 up to 43, their metrics 35 above.
# A pool that is restarted has one node more for a while.
MOST_OF_A_POOL, POOL_PORTS, POOL_METRICS = 6, 9, 44
# Nodes of each pool, and the megabytes of each: what stands in for dead nodes for some seconds needs few.
CACHE_POOLS = {"feed": (2, 192), "object": (2, 192), "session": (2, 64), "gutter": (1, 64)}
# Ports of caches are base + 400 up to 499, dealt out to the pools in turn.
LARGEST_CACHE_NUMBER = 100 // len(CACHE_POOLS)
# A Unix socket's path may have 107 bytes; the longest name in the folder has about 20.
LONGEST_SOCKET_FOLDER = 80


@dataclasses.dataclass
class Settings:
    """What a person chose; kept in the state folder so that the next run need not repeat it."""

    shards: int = 4
    # Which shards there are; a number that was removed leaves a gap. Not for a person to set.
    shard_numbers: tuple = ()
    # Likewise: the numbers of each pool's memcached nodes.
    cache_numbers: dict = dataclasses.field(default_factory=dict)
    app_nodes: int = 2
    media_nodes: int = 1
    notifications_nodes: int = 1
    search_nodes: int = 1
    streaming_nodes: int = 1
    workers: int = 2
    # One leads, the others stand by.
    coordinators: int = 2
    port_base: int = 15000
    http_port: int = 8080
    https_port: int = 8443
    feed_push_threshold: int = 10000
    # Of each move of buckets; 0 is no limit, and no way back.
    move_megabytes_per_second: int = 0
    move_retention_seconds: int = 0
    # Seconds after which `cluster/up` gives up waiting for a part.
    start_seconds: int = 60

    @staticmethod
    def read(home):
        """The kept settings, changed by the environment; also what the kept ones were, if any."""
        kept, file = None, home / "settings.json"
        if file.exists():
            try:
                known = {field.name for field in dataclasses.fields(Settings)}
                values = json.loads(file.read_text())
                kept = Settings(**{key: values[key] for key in known & values.keys()})
                kept._fill()
            except (ValueError, TypeError):
                raise Failure(f"{file} is damaged; repair it or run cluster/destroy") from None
        settings = dataclasses.replace(kept) if kept else Settings()
        for field in dataclasses.fields(Settings):
            text = os.environ.get(field.name.upper())
            if text and field.type is int:
                if not text.isdecimal():
                    raise Failure(f"{field.name.upper()}={text} is not a number")
                setattr(settings, field.name, int(text))
        settings.check(kept, home)
        settings._fill()
        return settings, kept

    def _fill(self):
        self.shard_numbers = tuple(self.shard_numbers) or _first_numbers(self.shards)
        self.cache_numbers = {
            pool: tuple(self.cache_numbers.get(pool) or _first_numbers(nodes))
            for pool, (nodes, _) in CACHE_POOLS.items()}

    def check(self, kept, home):
        for name, most in MOST.items():
            if not 1 <= getattr(self, name) <= most:
                raise Failure(f"{name.upper()} must be between 1 and {most}")
        for service, name in POOLS.items():
            if service != "core" and not 0 <= self.nodes(service) <= MOST_OF_A_POOL:
                raise Failure(f"{name.upper()}_NODES must be between 0 and {MOST_OF_A_POOL}")
        if not 1024 <= self.port_base <= EPHEMERAL_PORTS - PORT_RANGE:
            raise Failure(
                f"PORT_BASE must be between 1024 and {EPHEMERAL_PORTS - PORT_RANGE}:"
                " outgoing connections use the ports above")
        if not kept:
            return
        if self.port_base != kept.port_base:
            raise Failure(
                f"the cluster in {home} uses PORT_BASE={kept.port_base} and keeps it; for a second"
                " cluster give a folder of its own in TESSERA_HOME")
        if self.shards < len(kept.shard_numbers):
            raise Failure(
                f"this cluster has {len(kept.shard_numbers)} shards; to go down to {self.shards} run"
                f" cluster/shrink {len(kept.shard_numbers) - self.shards}")

    def nodes(self, service):
        """How many nodes the service has for itself."""
        return getattr(self, f"{POOLS[service]}_nodes")

    def set_nodes(self, service, count):
        setattr(self, f"{POOLS[service]}_nodes", count)

    def keep(self, home):
        new = home / "settings.json.new"
        # What was asked for and is not there yet is not kept.
        values = {**dataclasses.asdict(self), "shards": len(self.shard_numbers)}
        new.write_text(json.dumps(values, indent=1) + "\n")
        new.replace(home / "settings.json")


@dataclasses.dataclass(frozen=True)
class Node:
    """One process: its name is what a person types."""

    name: str
    port: int = 0
    index: int = 0
    pool: str = ""
    metrics_port: int = 0
    # Of an app node: whose pool it is in.
    service: str = ""


class Layout:
    """Where everything of one cluster is."""

    def __init__(self, settings, home):
        self.settings = settings
        self.home = home
        self.secrets = home / "secrets"
        self.logs = home / "logs"
        self.config = home / "config"
        self.binaries = home / "bin"
        self.tls = home / "tls"
        self.etcd_data = home / "etcd"
        self.objects = home / "objects"
        self.run = _socket_folder(home)
        self.supervisor_socket = self.run / "supervisor.sock"
        self.balancer_socket = self.run / "haproxy.sock"

    @staticmethod
    def load():
        """The layout for the commands after `up`, which need a cluster that exists."""
        home = state_folder()
        settings, kept = Settings.read(home)
        if not kept:
            raise Failure(f"there is no cluster in {home}; cluster/up makes one")
        return Layout(kept, home)

    @property
    def base(self):
        return self.settings.port_base

    @property
    def url(self):
        return f"http://127.0.0.1:{self.settings.http_port}"

    @property
    def secure_url(self):
        return f"https://127.0.0.1:{self.settings.https_port}"

    @property
    def etcd(self):
        return Node("etcd", self.base + 79)

    @property
    def etcd_peer_port(self):
        return self.base + 80

    @property
    def bus(self):
        return Node("nats", self.base + 81)

    @property
    def balancer(self):
        return Node("haproxy", self.settings.http_port, metrics_port=self.base + 90)

    @property
    def shards(self):
        return [self.shard(number) for number in self.settings.shard_numbers]

    def shard(self, number):
        return Node(f"shard{number}", self.base + 200 + number, number)

    @property
    def caches(self):
        return [self.cache(pool, number)
                for pool in CACHE_POOLS for number in self.settings.cache_numbers[pool]]

    def cache(self, pool, number):
        place = (number - 1) * len(CACHE_POOLS) + list(CACHE_POOLS).index(pool)
        return Node(f"memcached-{pool}{number}", self.base + 400 + place, number, pool)

    @property
    def app_nodes(self):
        return [node for service in POOLS for node in self.pool(service)]

    def pool(self, service):
        return [self.app_node(service, i) for i in range(1, self.settings.nodes(service) + 1)]

    def app_node(self, service, index):
        name = f"{POOLS[service]}{index}"
        if service == "core":
            return Node(name, self.base + 100 + index, index, metrics_port=self.base + 150 + index,
                        service=service)
        place = (list(POOLS).index(service) - 1) * (MOST_OF_A_POOL + 1) + index - 1
        return Node(name, self.base + POOL_PORTS + place, index,
                    metrics_port=self.base + POOL_METRICS + place, service=service)

    @property
    def pools(self):
        """The services that have nodes of their own."""
        return [service for service in POOLS if self.settings.nodes(service)]

    def services(self, node):
        """What an app node runs: its pool's service, and on core's nodes those that have no pool."""
        others = [service for service in POOLS if service not in self.pools]
        return [node.service, *others] if node.service == "core" else [node.service]

    @property
    def peers_port(self):
        """The balancer's inner side, by which nodes reach other services."""
        return self.base + 91

    @property
    def workers(self):
        return [Node(f"worker{i}", 0, i, metrics_port=self.base + 300 + i)
                for i in range(1, self.settings.workers + 1)]

    @property
    def coordinators(self):
        return [Node(f"coordinator{i}", 0, i, metrics_port=self.base + 350 + i)
                for i in range(1, self.settings.coordinators + 1)]

    @property
    def roles(self):
        """The processes that are ours, in the order in which they start."""
        return [*self.app_nodes, *self.workers, *self.coordinators]

    @property
    def infrastructure(self):
        return [self.etcd, self.bus, *self.shards, *self.caches]

    @property
    def nodes(self):
        """Every process, in the order in which they start."""
        return [*self.infrastructure, *self.roles, self.balancer]

    @property
    def ports(self):
        """Every port that the cluster listens on, with the process that does."""
        pairs = [(port, node.name) for node in self.nodes
                 for port in (node.port, node.metrics_port) if port]
        return [*pairs, (self.etcd_peer_port, "etcd"), (self.settings.https_port, "haproxy"),
                (self.peers_port, "haproxy")]

    def shard_data(self, node):
        return database_home(self.home) / node.name

    def cache_addresses(self, pool):
        return [f"127.0.0.1:{node.port}" for node in self.caches if node.pool == pool]

    def log(self, name):
        return self.logs / f"{name}.log"


def _first_numbers(count):
    return tuple(range(1, count + 1))


def state_folder():
    return pathlib.Path(os.environ.get("TESSERA_HOME", CHECKOUT / ".tessera")).resolve()


def database_user():
    """Who runs PostgreSQL, which refuses root: Debian's user for it, or the ordinary user."""
    return "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name


def database_home(home):
    """The folder of the shards' data.

    It is in the state folder, unless that lies where the database's user cannot go (a checkout in
    /root): then it has a folder in /var/lib of its own, which `destroy` deletes as well.
    """
    kept = home / "database-home"
    if kept.exists():
        return pathlib.Path(kept.read_text().strip())
    return home / "shards"


def outside_database_home(home):
    return pathlib.Path("/var/lib") / f"tessera-{_digest(home)}"


def _socket_folder(home):
    if len(str(home / "run")) <= LONGEST_SOCKET_FOLDER:
        return home / "run"
    parent = os.environ.get("XDG_RUNTIME_DIR") or ("/run" if os.geteuid() == 0 else "/tmp")
    return pathlib.Path(parent) / f"tessera-{os.geteuid()}-{_digest(home)}"


def _digest(home):
    return hashlib.sha256(str(home).encode()).hexdigest()[:12]

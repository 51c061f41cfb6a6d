"""Fan-out: feed entries a second that the product writes into one shard, beside raw `unnest` inserts.

The product's number is everything: effects claimed, followers read, entries checked against the readers' state
and inserted under the fence, effects completed. The peer is a C program on libpq which sends nothing but the
insert, of the same readers in the same order, into the same table of the same server with the same settings, indexes and
guards. It comes in four variants, each at the best of several batch sizes: with one connection and with as many as
the product uses; and skipping an entry that is there already, as one must who may repeat an insert, or failing at it,
which nobody can afford who has no way to start over.

The table is that of a shard in use: every reader has a feed already, written in the order of time, and the author's
followers are drawn from among them. What a run inserted is counted, deleted and vacuumed away before the next.
"""
import functools
import json
import os
import pathlib
import pwd
import resource
import subprocess

from frame import ROOT, Unavailable, cpu_of, free_port

BIN = pathlib.Path("/usr/lib/postgresql/15/bin")
READERS = 100_000
HISTORY = 25
FOLLOWERS = 10_000
POSTS = 40
FIRST_POST = 1 << 40
CONNECTIONS = 4
BATCHES = (500, 1_000, 2_000, 4_000)
AUTHOR = 1_700_000_000_000 << 16 | 77 << 6
MIGRATIONS = ("Storage/Database", "Storage/Jobs", "Storage/Counters", "Services/Graph", "Services/Feed")


class Shard:
    """A PostgreSQL of its own with durable settings, prepared with one author and their followers."""

    def __init__(self, frame):
        self.frame = frame
        self.port = free_port(25410)
        self.folder = frame.folder / "shard"
        self.user = "postgres" if os.geteuid() == 0 else None
        self.folder.mkdir()
        if self.user:
            os.chmod(frame.folder, 0o755)
            os.chown(self.folder, pwd.getpwnam(self.user).pw_uid, -1)
        self.command("initdb", "-D", self.folder / "data", "-A", "trust", "-U", "mover", "-E", "UTF8")
        with open(self.folder / "data" / "postgresql.conf", "a", encoding="utf-8") as conf:
            conf.write(
                f"port={self.port}\nlisten_addresses='127.0.0.1'\n"
                f"unix_socket_directories='{self.folder}'\nshared_buffers=256MB\nmax_wal_size=8GB\n"
                "checkpoint_timeout=30min\nfsync=on\nfull_page_writes=on\nsynchronous_commit=on\n"
                "jit=off\nmax_connections=50\nautovacuum_naptime=10min\n")
        self.server = frame.start(
            "postgresql", [BIN / "postgres", "-D", self.folder / "data"], self.port, user=self.user)
        self.sql("CREATE ROLE app LOGIN; CREATE ROLE worker LOGIN; CREATE DATABASE tessera",
                 database="postgres")
        for module in MIGRATIONS:
            for file in sorted((ROOT / "Sources" / module / "Migrations").glob("*.sql")):
                self.sql(file.read_text(encoding="utf-8"))
        self.sql("SELECT control.guard_tables()")
        self.fill()

    def command(self, program, *arguments):
        subprocess.run([BIN / program, *map(str, arguments)], check=True, user=self.user,
                       stdout=subprocess.DEVNULL, cwd="/")

    def sql(self, text, database="tessera"):
        out = subprocess.run(
            ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.port),
             "-U", "mover", "-d", database, "-f", "-"],
            input=text, text=True, capture_output=True)
        if out.returncode:
            raise Unavailable(out.stderr)
        return out.stdout

    def fill(self):
        self.sql(f"""
            INSERT INTO control.bucket_owner SELECT b, 1, 'own' FROM generate_series(0, 1023) AS b;
            INSERT INTO feed.reader (bucket, reader, active, rebuilt)
            SELECT i % 1024, (1600000000000::bigint + i / 1024) << 16 | (i % 1024) << 6, true, true
            FROM generate_series(1, {READERS}) AS i;
            SELECT setseed(0.5);
            INSERT INTO graph.follower
            SELECT {AUTHOR} >> 6 & 1023, {AUTHOR}, bucket, reader, reader, 1, true
            FROM (SELECT bucket, reader FROM feed.reader ORDER BY random() LIMIT {FOLLOWERS}) AS f;
            """)
        # Ten posts of others to each tenth of the readers, and so on: the tree grows as it would in use.
        for turn in range(HISTORY):
            self.sql(f"""
                INSERT INTO feed.entry
                SELECT bucket, reader, {turn + 1}, {AUTHOR + 1}
                FROM feed.reader ORDER BY hashint8(reader + {turn}) % 10, bucket, reader;
                """)
        self.sql("VACUUM ANALYZE")
        self.readers = self.folder / "readers"
        text = self.sql(
            "SELECT follower FROM graph.follower ORDER BY follower_bucket, follower")
        self.readers.write_text(text, encoding="utf-8")

    def restore(self):
        """The same start for everybody: the history and no more, no dirty pages."""
        self.sql(f"DELETE FROM feed.entry WHERE post_id >= {FIRST_POST}")
        self.sql("VACUUM feed.entry")
        self.sql("VACUUM jobs.outbox")
        self.sql("CHECKPOINT")

    def rows(self):
        return int(self.sql(f"SELECT count(*) FROM feed.entry WHERE post_id >= {FIRST_POST}"))


def run(frame):
    include = subprocess.run(["pg_config", "--includedir"], capture_output=True, text=True)
    if include.returncode:
        raise Unavailable("pg_config is missing; install libpq-dev")
    raw = frame.c_peer("unnest", f"-I{include.stdout.strip()}", "-lpq", "-lpthread")
    product = frame.product("fanoutbench")
    shard = Shard(frame)
    conninfo = f"host=127.0.0.1 port={shard.port} user=mover dbname=tessera"

    def measure(insert):
        """Rows, and CPU of both ends for each; of finished backends and clients too.

        The CPU hardly depends on what else the machine does; with both cores busy it is what limits the rows.
        """
        shard.restore()
        before = shard.server.cpu_seconds(), client_seconds()
        seconds = insert()
        server = shard.server.cpu_seconds() - before[0]
        both = server + client_seconds() - before[1]
        rows = shard.rows()
        if rows != FOLLOWERS * POSTS:
            raise Unavailable(f"{rows} entries instead of {FOLLOWERS * POSTS}")
        return {"rows_s": rows / seconds, "cpu_us": both / rows * 1e6,
                "postgres_cpu_us": server / rows * 1e6}

    def client_seconds():
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        return cpu_of(worker.pid) + ended.ru_utime + ended.ru_stime

    def insert(conflicts, connections, batch):
        out = subprocess.run(
            [raw, conninfo, shard.readers, str(FIRST_POST), str(AUTHOR), str(POSTS), str(batch),
             str(connections), conflicts], check=True, capture_output=True, text=True)
        return json.loads(out.stdout)["seconds"]

    worker = subprocess.Popen(
        [product, "--port", str(shard.port), "--database", "tessera", "--author", str(AUTHOR),
         "--connections", str(CONNECTIONS)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def fan_out():
        worker.stdin.write(f"go {FIRST_POST} {POSTS}\n")
        worker.stdin.flush()
        line = worker.stdout.readline()
        if not line:
            raise Unavailable("fanoutbench ended")
        return json.loads(line)["seconds"]

    try:
        peers = {}
        for conflicts in ("skip", "fail"):
            for connections in (1, CONNECTIONS):
                tried = {
                    size: measure(lambda s=size: insert(conflicts, connections, s))["rows_s"]
                    for size in BATCHES}
                best = max(tried, key=tried.get)
                peers[f"c-{conflicts}-{connections}x{best}"] = (
                    lambda *peer: measure(lambda: insert(*peer)), (conflicts, connections, best))
        frame.rounds(
            "fanout",
            {"tessera": lambda: measure(fan_out),
             **{name: functools.partial(call, *peer) for name, (call, peer) in peers.items()}},
            references=list(peers))
    finally:
        worker.stdin.close()
        worker.wait(20)

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
    """A PostgreSQL of its own with durable settings, prepared with authors and their followers.

    `crowds` says how many of the readers follow each author; more than there are readers are people who do not read.
    """

    def __init__(self, frame, crowds):
        self.frame, self.crowds = frame, crowds
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
            """)
        for author, followers in self.crowds.items():
            self.sql(f"""
                INSERT INTO graph.follower
                SELECT {author} >> 6 & 1023, {author}, bucket, reader, reader, 1, true
                FROM (SELECT bucket, reader FROM feed.reader ORDER BY random() LIMIT {followers}) AS f;
                INSERT INTO graph.follower
                SELECT {author} >> 6 & 1023, {author}, i % 1024, id, id, 1, true
                FROM generate_series({READERS + 1}, {followers}) AS i,
                    LATERAL (SELECT (1500000000000::bigint + i / 1024) << 16 | (i % 1024) << 6 AS id) AS f;
                """)
        # Ten posts of others to each tenth of the readers, and so on: the tree grows as it would in use.
        for turn in range(HISTORY):
            self.sql(f"""
                INSERT INTO feed.entry
                SELECT bucket, reader, {turn + 1}, {AUTHOR + 1}
                FROM feed.reader ORDER BY hashint8(reader + {turn}) % 10, bucket, reader;
                """)
        self.sql("VACUUM ANALYZE")

    def readers(self, author):
        """A file with the followers of an author, in the order in which the product delivers."""
        file = self.folder / f"readers-{author}"
        file.write_text(self.sql(
            f"SELECT follower FROM graph.follower WHERE followed = {author}"
            " ORDER BY follower_bucket, follower"), encoding="utf-8")
        return file

    def restore(self):
        """The same start for everybody: the history and no more, no dirty pages."""
        self.sql(f"DELETE FROM feed.entry WHERE post_id >= {FIRST_POST}")
        self.sql("VACUUM feed.entry")
        self.sql("VACUUM jobs.outbox")
        self.sql("CHECKPOINT")

    def rows(self):
        return int(self.sql(f"SELECT count(*) FROM feed.entry WHERE post_id >= {FIRST_POST}"))


class Product:
    """The product's fan-out of one author's posts, as a process that is told to publish."""

    def __init__(self, frame, shard, author, threshold=1_000_000):
        self.process = subprocess.Popen(
            [frame.product("fanoutbench"), "--port", str(shard.port), "--database", "tessera",
             "--author", str(author), "--connections", str(CONNECTIONS), "--threshold", str(threshold)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def publish(self, posts, first=FIRST_POST):
        """Seconds from the commit of so many posts to the last entry."""
        self.process.stdin.write(f"go {first} {posts}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise Unavailable("fanoutbench ended")
        return json.loads(line)["seconds"]

    def cpu_seconds(self):
        return cpu_of(self.process.pid)

    def close(self):
        self.process.stdin.close()
        self.process.wait(20)


def run(frame):
    compare(frame, "fanout", FOLLOWERS, POSTS)


def compare(frame, scenario, followers, posts):
    """The product beside the raw inserts of the same entries."""
    include = subprocess.run(["pg_config", "--includedir"], capture_output=True, text=True)
    if include.returncode:
        raise Unavailable("pg_config is missing; install libpq-dev")
    raw = frame.c_peer("unnest", f"-I{include.stdout.strip()}", "-lpq", "-lpthread")
    shard = Shard(frame, {AUTHOR: followers})
    readers = shard.readers(AUTHOR)
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
        if rows != followers * posts:
            raise Unavailable(f"{rows} entries instead of {followers * posts}")
        return {"rows_s": rows / seconds, "cpu_us": both / rows * 1e6,
                "postgres_cpu_us": server / rows * 1e6}

    def client_seconds():
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        return product.cpu_seconds() + ended.ru_utime + ended.ru_stime

    def insert(conflicts, connections, batch):
        out = subprocess.run(
            [raw, conninfo, readers, str(FIRST_POST), str(AUTHOR), str(posts), str(batch),
             str(connections), conflicts], check=True, capture_output=True, text=True)
        return json.loads(out.stdout)["seconds"]

    product = Product(frame, shard, AUTHOR)
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
            scenario,
            {"tessera": lambda: measure(lambda: product.publish(posts)),
             **{name: functools.partial(call, *peer) for name, (call, peer) in peers.items()}},
            references=list(peers))
    finally:
        product.close()

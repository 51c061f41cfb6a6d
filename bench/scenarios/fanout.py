"""Fan-out: feed entries a second that the product writes into one shard, beside raw `unnest` inserts.

The product's number is everything: effects claimed, followers read, entries checked against the readers' state
and inserted under the fence, effects completed. The peer is a C program on libpq which sends nothing but the
insert, into the same table of the same server with the same settings and indexes: with one connection and with
as many as the product uses, each at the best of several batch sizes.
"""
import json
import os
import pathlib
import pwd
import subprocess

from frame import ROOT, Server, Unavailable, free_port

BIN = pathlib.Path("/usr/lib/postgresql/15/bin")
FOLLOWERS = 20_000
POSTS = 10
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
            FROM generate_series(1, {FOLLOWERS}) AS i;
            INSERT INTO graph.follower
            SELECT {AUTHOR} >> 6 & 1023, {AUTHOR}, bucket, reader, reader, 1, true FROM feed.reader;
            """)
        self.sql("VACUUM ANALYZE")
        self.readers = self.folder / "readers"
        text = self.sql("SELECT reader FROM feed.reader ORDER BY bucket, reader")
        self.frame_file(self.readers, text)

    def frame_file(self, path, text):
        path.write_text(text, encoding="utf-8")

    def empty(self):
        """The same start for everybody: no entries, no dirty pages."""
        self.sql("TRUNCATE feed.entry, jobs.outbox")
        self.sql("CHECKPOINT")

    def rows(self):
        return int(self.sql("SELECT count(*) FROM feed.entry"))


def run(frame):
    include = subprocess.run(["pg_config", "--includedir"], capture_output=True, text=True)
    if include.returncode:
        raise Unavailable("pg_config is missing; install libpq-dev")
    raw = frame.c_peer("unnest", f"-I{include.stdout.strip()}", "-lpq", "-lpthread")
    product = frame.product("fanoutbench")
    shard = Shard(frame)
    conninfo = f"host=127.0.0.1 port={shard.port} user=mover dbname=tessera"
    post = [1 << 40]

    def insert(batch, connections):
        shard.empty()
        post[0] += POSTS
        before = shard.server.cpu_seconds()
        out = subprocess.run(
            [raw, conninfo, shard.readers, str(post[0]), str(AUTHOR), str(POSTS), str(batch),
             str(connections)], check=True, capture_output=True, text=True)
        return answer(json.loads(out.stdout)["seconds"], shard.server.cpu_seconds() - before)

    def answer(seconds, cpu):
        rows = shard.rows()
        if rows != FOLLOWERS * POSTS:
            raise Unavailable(f"{rows} entries instead of {FOLLOWERS * POSTS}")
        return {"rows_s": rows / seconds, "postgres_cpu_us": cpu / rows * 1e6}

    worker = subprocess.Popen(
        [product, "--port", str(shard.port), "--database", "tessera", "--author", str(AUTHOR),
         "--connections", str(CONNECTIONS)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def fan_out():
        shard.empty()
        post[0] += POSTS
        before = shard.server.cpu_seconds()
        worker.stdin.write(f"go {post[0]} {POSTS}\n")
        worker.stdin.flush()
        line = worker.stdout.readline()
        if not line:
            raise Unavailable("fanoutbench ended")
        return answer(json.loads(line)["seconds"], shard.server.cpu_seconds() - before)

    try:
        best = {}
        for connections in (1, CONNECTIONS):
            tried = {size: insert(size, connections)["rows_s"] for size in BATCHES}
            best[connections] = max(tried, key=tried.get)
        names = {connections: f"c-libpq-{connections}x{best[connections]}" for connections in best}
        frame.rounds(
            "fanout",
            {"tessera": fan_out,
             **{name: (lambda c=c: insert(best[c], c)) for c, name in names.items()}},
            references=list(names.values()))
    finally:
        worker.stdin.close()
        worker.wait(20)

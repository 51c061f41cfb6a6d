"""One indexed SELECT of twenty rows a request: the whole stack beside C on libuv and libpq."""
import json
import os
import pathlib
import pwd
import shutil
import subprocess
import tempfile
import urllib.request

from frame import Unavailable, free_port

# On two cores; as many for the peer that pipelines as for us.
READ_CONNECTIONS = 3

BINARIES = pathlib.Path("/usr/lib/postgresql/15/bin")

GOALS = [
    {"text": "Twenty rows: CPU of a request beside C with a sync for each query", "variant": "tessera",
     "metric": "cpu_us", "peer": "c-libpq", "most": 1.1},
    {"text": "Twenty rows: throughput beside C with a query for each of 16 connections", "variant": "tessera",
     "metric": "rps", "peer": "c-libpq-pool16", "least": 1.3},
]

TABLE = """
CREATE TABLE post (
    bucket smallint, author_id bigint, id bigint, caption text NOT NULL,
    created_at timestamptz NOT NULL, PRIMARY KEY (bucket, author_id, id)
);
INSERT INTO post
SELECT 7, author, 100000000000000000 + number * 1000 + author,
       'photo number ' || number || ' by ' || author,
       timestamptz '2026-11-21 12:00:00Z' + number * interval '1 minute'
FROM generate_series(1, 1000) AS author, generate_series(1, 60) AS number;
VACUUM ANALYZE post;
"""


class Database:
    """A PostgreSQL of its own, below a folder that its user may enter."""

    def __init__(self, frame):
        if not (BINARIES / "initdb").exists():
            raise Unavailable("PostgreSQL 15 is missing; install it with: apt-get install postgresql-15")
        self.user = pwd.getpwnam("postgres").pw_uid if os.geteuid() == 0 else None
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="tessera-select20-"))
        if self.user is not None:
            os.chown(self.folder, self.user, -1)
        self.port = free_port(21400)
        self.run("initdb", "-D", self.folder / "data", "--username=bench", "--auth=trust",
                 "--encoding=UTF8", "--locale=C.UTF-8")
        with open(self.folder / "data" / "postgresql.conf", "a") as config:
            config.write(
                f"listen_addresses = '127.0.0.1'\nport = {self.port}\njit = off\n"
                f"unix_socket_directories = '{self.folder}'\nshared_buffers = 128MB\n")
        frame.start("postgresql", [BINARIES / "postgres", "-D", self.folder / "data"], self.port,
                    user=self.user)
        for command in ["CREATE DATABASE bench", TABLE]:
            self.psql("bench" if command is TABLE else "postgres", command)

    def run(self, program, *arguments):
        subprocess.run([str(BINARIES / program), *map(str, arguments)], check=True, user=self.user,
                       stdout=subprocess.DEVNULL, cwd=self.folder)

    def psql(self, database, text):
        for _ in range(100):
            done = subprocess.run(
                ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.port),
                 "-U", "bench", "-d", database], input=text, text=True, capture_output=True)
            if "starting up" not in done.stderr:
                break
        if done.returncode:
            raise Unavailable(f"psql: {done.stderr}")


def get(server, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}") as answer:
        return answer.read()


def run(frame):
    database = Database(frame)
    try:
        measure(frame, database)
    finally:
        frame.close()
        shutil.rmtree(database.folder, ignore_errors=True)


def measure(frame, database):
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "libuv", "libpq"], check=True,
                           capture_output=True, text=True).stdout.split()
    peer = frame.c_peer("select20", *flags)
    info = f"host=127.0.0.1 port={database.port} dbname=bench user=bench sslmode=disable"
    port = free_port(21410)
    c = frame.start("c-libpq", [peer, port, info, READ_CONNECTIONS, 1_000_000], port)
    port = free_port(21430)
    pool = frame.start("c-libpq-pool16", [peer, port, info, 16, 1], port)
    port = free_port(21450)
    tessera = frame.start(
        "tessera",
        [frame.product("benchnode"), "--port", port, "--loops", "1", "--postgres-port", database.port,
         "--read-connections", READ_CONNECTIONS],
        port)
    check(c, pool, tessera)
    frame.rounds(
        "select20",
        {
            "c-libpq": lambda: frame.wrk(c, "/select20"),
            "c-libpq-pool16": lambda: frame.wrk(pool, "/select20"),
            "tessera": lambda: frame.wrk(tessera, "/select20"),
            "tessera-values": lambda: frame.wrk(tessera, "/select20-values"),
        },
        references=["c-libpq", "c-libpq-pool16"])


def check(c, pool, tessera):
    """Every server goes through the authors from the first on, so equal requests have equal answers."""
    for path in ["/select20", "/select20-values"]:
        answers = {server.name: get(server, path) for server in [c, pool, tessera]}
        if len(json.loads(answers["c-libpq"])) != 20 or len(set(answers.values())) > 1:
            raise Unavailable(f"the answers differ: {answers}")

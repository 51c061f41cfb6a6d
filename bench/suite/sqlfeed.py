"""The peer that most people would build: a feed on one PostgreSQL, computed on read or inserted on write."""
import os
import pathlib
import pwd
import subprocess
import time

from frame import BENCH, Unavailable, free_port

from .load import request
from .world import HOME_BOUND

BINARIES = pathlib.Path("/usr/lib/postgresql/15/bin")
FILES = BENCH / "peers" / "sqlfeed"
CONNECTIONS = 16
# All rows and indexes fit: the peer never waits for a disk when it reads.
SHARED_BUFFERS = "512MB"
AVATAR = "http://127.0.0.1/avatars/original/missing.png"


class SQLFeed:
    """One durable PostgreSQL with the tables and rows of a world, and servers for its statements."""

    def __init__(self, frame, world):
        self.frame = frame
        if not (BINARIES / "initdb").exists():
            raise Unavailable("PostgreSQL 15 is missing; install it with: apt-get install postgresql-15")
        self.user = "postgres" if os.geteuid() == 0 else None
        self.folder = frame.folder / "sqlfeed"
        self.folder.mkdir()
        if self.user:
            os.chmod(frame.folder, 0o755)
            os.chown(self.folder, pwd.getpwnam(self.user).pw_uid, -1)
        self.port = free_port(frame.options.port_base + 5000)
        self._run("initdb", "-D", self.folder / "data", "--username=bench", "--auth=trust",
                  "--encoding=UTF8", "--locale=C.UTF-8")
        with open(self.folder / "data" / "postgresql.conf", "a", encoding="utf-8") as conf:
            conf.write(
                f"port={self.port}\nlisten_addresses='127.0.0.1'\nunix_socket_directories='{self.folder}'\n"
                f"shared_buffers={SHARED_BUFFERS}\nmax_wal_size=4GB\ncheckpoint_timeout=30min\njit=off\n"
                "random_page_cost=1.1\nmax_parallel_workers_per_gather=0\n"
                "fsync=on\nfull_page_writes=on\nsynchronous_commit=on\n")
        self.database = frame.start(
            "sqlfeed-postgresql", [BINARIES / "postgres", "-D", self.folder / "data"], self.port,
            user=self.user)
        self._fill(world)

    def _run(self, program, *arguments):
        subprocess.run([BINARIES / program, *map(str, arguments)], check=True, user=self.user,
                       stdout=subprocess.DEVNULL, cwd="/")

    def _psql(self, *more):
        return ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.port),
                "-U", "bench", "-d", "postgres", *more]

    def sql(self, text):
        for _ in range(200):
            run = subprocess.run(self._psql("-f", "-"), input=text, text=True, capture_output=True)
            if "starting up" not in run.stderr:
                break
            time.sleep(0.1)
        if run.returncode:
            raise Unavailable(f"sqlfeed: {run.stderr.strip()[-300:]}")
        return run.stdout

    def _copy(self, table, rows):
        stream = subprocess.Popen(
            self._psql("-c", f"COPY {table} FROM STDIN"), stdin=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)
        for row in rows:
            stream.stdin.write("\t".join(map(str, row)) + "\n")
        error = stream.communicate()[1]
        if stream.returncode:
            raise Unavailable(f"sqlfeed: COPY {table}: {error.strip()[-300:]}")

    def _fill(self, world):
        self.sql((FILES / "schema.sql").read_text())
        self._copy("person (id, username, display_name, avatar)", (
            (p, world.username(p), f"Person number {world.number[p]}", AVATAR) for p in world.people))
        # One's own posts are in one's timeline too.
        self._copy("follow", ((person, friend) for person, friends in world.following.items()
                              for friend in [*friends, person]))
        self._copy("post (id, author, text, created_at)", (
            (post, author, world.text(post), post >> 16) for post, author in world.posts))
        self._copy("timeline", ((reader, post) for reader in world.readers
                                for post in world.home(reader)[:HOME_BOUND]))
        self.sql((FILES / "indexes.sql").read_text())

    # MARK: What is measured

    def serve(self, form):
        """A server for one form of reading, with the CPU of the database counted as its own."""
        flags = subprocess.run(["pkg-config", "--cflags", "--libs", "libuv", "libpq"], check=True,
                               capture_output=True, text=True).stdout.split()
        port = free_port(self.port + 1)
        info = f"host=127.0.0.1 port={self.port} dbname=postgres user=bench sslmode=disable"
        server = self.frame.start(
            f"sqlfeed-{form}", [self.frame.c_peer("sqlfeed", *flags), port, info, CONNECTIONS,
                                FILES / f"{form}.sql"], port)
        return server

    def message(self, reader):
        return request("GET", f"/home/{reader}")

    def plan(self, form, reader):
        """What PostgreSQL does for one reader's page, as it tells it."""
        text = (FILES / f"{form}.sql").read_text()
        return self.sql(
            f"PREPARE feed (bigint) AS {text};\n"
            + f"EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, SUMMARY ON) EXECUTE feed ({reader});")

    def publish_seconds(self, author, post):
        """One post inserted with a row for each follower, in one transaction, as it is on write."""
        clock = "SELECT extract(epoch FROM clock_timestamp());"
        began, ended = map(float, self.sql(f"""
            {clock}
            BEGIN;
            INSERT INTO post (id, author, text, created_at)
            VALUES ({post}, {author}, 'a post that many follow', {post >> 16});
            INSERT INTO timeline (reader, post) SELECT follower, {post} FROM follow WHERE followed = {author};
            COMMIT;
            {clock}
            """).split())
        return ended - began

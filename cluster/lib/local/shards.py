"""One PostgreSQL server for each shard: created by an initdb of its own; shardctl does the rest."""
import concurrent.futures
import os
import pwd
import subprocess
import tempfile

from .console import Failure
from .folders import secret
from .layout import POSTGRES_BINARIES, database_user
from .templates import render

DATABASE = "tessera"


def create(layout):
    """Creates the shards that do not exist yet; returns their names."""
    if not (POSTGRES_BINARIES / "initdb").exists():
        raise Failure(f"{POSTGRES_BINARIES} has no initdb; install postgresql-15")
    missing = [node for node in layout.shards if not layout.shard_data(node).exists()]
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda node: _initdb(layout, node), missing))
    return [node.name for node in missing]


def _initdb(layout, node):
    """Everything is made beside its place and renamed into it: what is there is complete."""
    data = layout.shard_data(node)
    new = data.with_name(data.name + ".new")
    user = database_user()
    _as_owner(["rm", "-rf", "--", str(new)], "clearing a half-made shard")
    with tempfile.NamedTemporaryFile("w", dir=data.parent, prefix=".password-") as password:
        password.write(secret(layout, "postgres-mover"))
        password.flush()
        if os.geteuid() == 0:
            os.chown(password.name, *_owner(user))
        _as_owner(
            [str(POSTGRES_BINARIES / "initdb"), "--pgdata", str(new), "--username", "mover",
             "--pwfile", password.name, "--auth", "scram-sha-256", "--encoding", "UTF8",
             "--locale", "C.UTF-8", "--data-checksums"],
            f"initdb of {node.name}")
    (new / "pg_hba.conf").write_text(
        "# Written by cluster/up: passwords for everybody, from this machine only.\n"
        "host all         all   127.0.0.1/32 scram-sha-256\n"
        "host replication mover 127.0.0.1/32 scram-sha-256\n")
    with (new / "postgresql.conf").open("a") as stream:
        stream.write("\ninclude = 'tessera.conf'\n")
    settings = new / "tessera.conf"
    settings.write_text(render("postgresql.conf", shard=node.name, port=node.port))
    if os.geteuid() == 0:
        os.chown(settings, *_owner(user))
    new.rename(data)


def delete(layout, node):
    """Deletes the data of a shard that has no bucket any more."""
    data = layout.shard_data(node)
    if data.exists():
        _as_owner(["rm", "-rf", "--", str(data)], f"deleting the data of {node.name}")


def _owner(user):
    entry = pwd.getpwnam(user)
    return entry.pw_uid, entry.pw_gid


def _as_owner(command, what):
    identity = {}
    if os.geteuid() == 0:
        uid, gid = _owner(database_user())
        identity = {"user": uid, "group": gid, "extra_groups": []}
    run = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd="/", umask=0o077, **identity)
    if run.returncode:
        lines = (run.stderr or run.stdout).strip().splitlines()
        raise Failure(f"{what} failed: {lines[-1] if lines else run.returncode}")


def ready(layout, node):
    run = subprocess.run(
        [str(POSTGRES_BINARIES / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(node.port)],
        check=False)
    return run.returncode == 0


def psql(layout, node, script, database=DATABASE, role="mover"):
    """Runs a script on one shard and returns what it printed, unaligned."""
    run = subprocess.run(
        ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p",
         str(node.port), "-U", role, "-d", database],
        input=script, capture_output=True, text=True, check=False,
        env={**os.environ, "PGPASSWORD": secret(layout, f"postgres-{role}"),
             "PGCONNECT_TIMEOUT": "10"})
    if run.returncode:
        raise Failure(f"{node.name}: {run.stderr.strip().splitlines()[-1:]}")
    return run.stdout

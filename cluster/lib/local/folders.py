"""Creates the state folder, the secrets and the development certificate."""
import os
import pathlib
import pwd
import secrets
import shutil
import stat
import subprocess

from .console import Failure
from .layout import database_home, database_user, outside_database_home

# A first start needs about this much for the shards; a running cluster needs room to write.
FREE_BYTES_FIRST = 2 << 30
FREE_BYTES = 256 << 20

SECRETS = (
    "postgres-mover", "postgres-migrate", "postgres-app", "postgres-worker",
    "etcd-root", "etcd-tessera", "nats-tessera", "admin-password",
)


def check_space(home):
    first = not (home / "settings.json").exists()
    needed = FREE_BYTES_FIRST if first else FREE_BYTES
    free = shutil.disk_usage(home).free
    if free < needed:
        raise Failure(
            f"only {free >> 20} MB are free on the disk of {home}, {needed >> 20} MB are needed;"
            " free some, or choose another disk with TESSERA_HOME")


def create_folders(layout):
    layout.home.chmod(0o700)
    for folder in (layout.secrets, layout.logs, layout.config, layout.binaries, layout.tls,
                   layout.etcd_data, layout.objects, layout.run):
        private_folder(folder)
    create_database_home(layout.home)


def private_folder(folder):
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise Failure(f"{folder} is not a folder of this user; remove it")


def create_database_home(home):
    """As root, the database's group may pass through the state folder, and sees nothing else in it."""
    shards = database_home(home)
    if os.geteuid() != 0:
        private_folder(shards)
        return
    user = pwd.getpwnam(database_user())
    os.chown(home, 0, user.pw_gid)
    home.chmod(0o710)
    if shards == home / "shards" and not shards.exists() and not _passable(home, user):
        shards = outside_database_home(home)
        (home / "database-home").write_text(f"{shards}\n")
    shards.mkdir(mode=0o700, exist_ok=True)
    os.chown(shards, user.pw_uid, user.pw_gid)


def _passable(home, user):
    check = subprocess.run(
        ["test", "-x", str(home)], user=user.pw_uid, group=user.pw_gid, extra_groups=[],
        cwd="/", check=False)
    return check.returncode == 0


def create_secrets(layout):
    """Random per installation, made once, readable by the owner of the state folder alone."""
    made = 0
    for name in SECRETS:
        made += write_once(layout.secrets / name, secrets.token_urlsafe(24) + "\n")
    made += write_once(layout.secrets / "token-keys", f"k1 {secrets.token_hex(32)}\n")
    return made


def secret(layout, name):
    return (layout.secrets / name).read_text().strip()


def write_once(file, text):
    if file.exists() and file.stat().st_size:
        return 0
    new = file.with_name(file.name + ".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(file)
    return 1


def create_certificate(layout):
    """An authority of this installation and one certificate for localhost; ten years, never in git."""
    served = layout.tls / "server.pem"
    if served.exists():
        return False
    folder = layout.tls
    subject = "/CN=Tessera development"
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"
    extensions = folder / "leaf.extensions"
    extensions.write_text(f"{names}\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"]
    _openssl(folder, "req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem",
             "-days", "3650", "-subj", f"{subject} authority",
             "-addext", "basicConstraints=critical,CA:TRUE",
             "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    _openssl(folder, "req", *curve, "-keyout", "server.key", "-out", "server.csr",
             "-subj", "/CN=localhost")
    _openssl(folder, "x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
             "-CAcreateserial", "-days", "3650", "-out", "server.crt",
             "-extfile", extensions.name)
    write_once(
        served, (folder / "server.crt").read_text() + (folder / "server.key").read_text())
    for key in ("ca.key", "server.key"):
        (folder / key).chmod(0o600)
    return True


def _openssl(folder, *arguments):
    run = subprocess.run(
        ["openssl", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if run.returncode:
        raise Failure(f"openssl {arguments[0]} failed: {run.stderr.strip().splitlines()[-1:]}")


def install_binaries(layout, build):
    """Copies roles that were built anew; the running cluster never runs from the build folder."""
    changed = []
    for name in ("appnode", "worker", "coordinator", "shardctl", "loadgen"):
        source, target = build / name, layout.binaries / name
        if not source.exists():
            continue
        if target.exists() and _same(source, target):
            continue
        new = target.with_name(name + ".new")
        shutil.copy2(source, new)
        new.replace(target)
        changed.append(name)
    return changed


def _same(source, target):
    a, b = source.stat(), target.stat()
    return a.st_size == b.st_size and a.st_mtime_ns == b.st_mtime_ns


def has_role(layout, name):
    return (layout.binaries / name).exists()


def build_folder(checkout):
    return pathlib.Path(os.environ.get("TESSERA_BUILD", checkout / ".build" / "release"))

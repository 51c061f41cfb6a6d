"""Memory of an idle keep-alive connection: the whole stack beside bare C on libuv.

Each server gets thousands of connections, from several addresses; each has sent one request and then nothing. What the
process holds more of than before, of memory that is its own, is divided by their number. The kernel's part, which is
larger and the same for everybody, is left out.
"""
import pathlib
import resource
import socket

from frame import Unavailable, free_port

CONNECTIONS = 10_000
# An address has some 28,000 ports on its side; the kernel keeps closed ones for a minute.
ADDRESSES = [f"127.0.0.{number}" for number in range(2, 12)]
REQUEST = b"GET /hello HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
# For everything else that has a descriptor.
SPARE = 256

GOALS = [
    {"text": "Bytes of user memory of an idle connection", "variant": "tessera", "metric": "bytes", "most": 1_500},
]


def private_bytes(pid):
    """Anonymous memory in use: heap and stacks, no code and no files."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise Unavailable("this kernel does not tell the anonymous memory of a process")


def ask(link):
    link.sendall(REQUEST)
    if not link.recv(4096).startswith(b"HTTP/1.1 200"):
        raise Unavailable("an idle connection was refused")


def measure(server):
    links = []
    try:
        # What the first request of all makes is nobody's connection.
        with socket.create_connection(("127.0.0.1", server.port), 5) as first:
            ask(first)
        before = private_bytes(server.process.pid)
        for number in range(CONNECTIONS):
            link = socket.create_connection(
                ("127.0.0.1", server.port), 5, (ADDRESSES[number % len(ADDRESSES)], 0))
            links.append(link)
            ask(link)
        grown = private_bytes(server.process.pid) - before
    finally:
        for link in links:
            link.close()
    return {"bytes": grown / CONNECTIONS}


def run(frame):
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + SPARE
    if limit[1] != resource.RLIM_INFINITY and limit[1] < wanted:
        raise Unavailable(f"a process may have {limit[1]} descriptors here; ulimit -Hn {wanted} is wanted")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, limit[1]))

    # Memory that a process has had once it keeps, so each round is a process of its own.
    def fresh(name, command, base):
        def one():
            port = free_port(base)
            server = frame.start(name, [*command, str(port)], port)
            try:
                return measure(server)
            finally:
                server.stop()
        return one

    frame.rounds(
        "idle",
        {"c-libuv": fresh("c-libuv", [frame.c_peer("hello", "-luv")], 20400),
         "tessera": fresh("tessera", [frame.product("benchnode"), "--loops", "1", "--port"], 20430)},
        references=["c-libuv"], warm=False)

"""A cached value of 4,094 bytes: the whole stack beside nginx `memcached_pass` on the same memcached.

`tessera` speaks memcached's meta protocol on its event loop, as nodes do by default; `tessera-libmemcached` is the
same with `cache.client: libmemcached`.

`one-key` asks for the same key all the time, `keys-64` for 64 in turn: this stack asks memcached once for
equal keys of one turn, which only the second leaves out of account.
"""
import os
import socket

from frame import free_port

KEYS = 64
BODY = b"x" * 4094
GOALS = [
    {"text": f"4 KB from memcached, {variant}: {metric} beside nginx `memcached_pass`", "metric": metric,
     "variant": f"tessera-{variant}", "peer": f"nginx-memcached_pass-{variant}", **bound}
    for variant in ("one-key", "keys-64")
    for metric, bound in (("rps", {"least": 1.1}), ("cpu_us", {"most": 1.0}))]

NGINX = """
daemon off; worker_processes 1; pid {folder}/cache-nginx.pid; error_log /dev/null;
events {{ worker_connections 1024; }}
http {{
    access_log off; default_type application/octet-stream; keepalive_requests 1000000000;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    upstream cache {{ server 127.0.0.1:{memcached}; keepalive 64; }}
    server {{
        listen 127.0.0.1:{port};
        location /cached/ {{ set $memcached_key $uri; memcached_pass cache; }}
    }}
}}
"""

IN_TURN = """
local number = 0
request = function()
    number = (number + 1) %% %d
    return wrk.format("GET", "/cached/" .. number)
end
"""


def memcached(frame):
    port = free_port(23410)
    command = [frame.tool("memcached", "memcached"), "-l", "127.0.0.1", "-p", port, "-U", "0",
               "-m", "64", "-t", "2"]
    # memcached refuses to run as root unless it is told to.
    return frame.start("memcached", command + (["-u", "root"] if os.getuid() == 0 else []), port)


def fill(port):
    """Puts the values under the names that nginx asks for; this stack fills its own."""
    with socket.create_connection(("127.0.0.1", port)) as link:
        for number in range(KEYS):
            link.sendall(b"set /cached/%d 0 0 %d\r\n%s\r\n" % (number, len(BODY), BODY))
            assert link.recv(64) == b"STORED\r\n"


def nginx(frame, cache):
    port = free_port(23420)
    config = frame.folder / "cache-nginx.conf"
    config.write_text(NGINX.format(folder=frame.folder, port=port, memcached=cache.port))
    return frame.start("nginx", [frame.tool("nginx", "nginx-light"), "-c", config], port)


def node(frame, cache, client, port):
    port = free_port(port)
    return frame.start(
        f"tessera-{client}",
        [frame.product("benchnode"), "--port", port, "--loops", "1",
         "--memcached", f"127.0.0.1:{cache.port}", "--cache-client", client], port)


def run(frame):
    cache = memcached(frame)
    fill(cache.port)
    web = nginx(frame, cache)
    tessera = node(frame, cache, "meta", 23430)
    reference = node(frame, cache, "libmemcached", 23440)
    in_turn = frame.folder / "in-turn.lua"
    in_turn.write_text(IN_TURN % KEYS)
    for variant, script in [("one-key", None), ("keys-64", in_turn)]:
        peer = f"nginx-memcached_pass-{variant}"
        frame.rounds(
            "cache-get",
            {peer: lambda: frame.wrk(web, "/cached/1", script=script),
             f"tessera-{variant}": lambda: frame.wrk(tessera, "/cached/1", script=script),
             f"tessera-libmemcached-{variant}":
                 lambda: frame.wrk(reference, "/cached/1", script=script)},
            references=[peer])

"""A small JSON answer: the whole stack beside bare C libuv, nginx `return`, Hummingbird 2 and Node's http."""
from frame import BENCH, Unavailable, free_port

BODY = ('{"id":"1234567890","name":"hello","text":"a small answer of one hundred bytes, '
        'no more no less"}    ')

GOALS = [
    {"text": "Small JSON: CPU of a request beside bare C on libuv", "variant": "tessera", "metric": "cpu_us",
     "peer": "c-libuv", "most": 1.4},
    {"text": "Small JSON: throughput beside nginx `return`", "variant": "tessera", "metric": "rps",
     "peer": "nginx", "least": 0.8},
    {"text": "Small JSON: throughput beside Hummingbird 2", "variant": "tessera", "metric": "rps",
     "peer": "hummingbird", "least": 2},
]

NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log /dev/null;
events {{ worker_connections 1024; }}
http {{
    access_log off; default_type application/json; keepalive_requests 1000000000;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    server {{ listen 127.0.0.1:{port}; location /hello {{ return 200 '{body}'; }} }}
}}
"""


def nginx(frame):
    port = free_port(20410)
    config = frame.folder / "hello-nginx.conf"
    config.write_text(NGINX.format(folder=frame.folder, port=port, body=BODY))
    return frame.start("nginx", [frame.tool("nginx", "nginx-light"), "-c", config], port)


def hummingbird(frame):
    """Nothing where it cannot be built, which takes the network once."""
    try:
        program = frame.swift_peer("hummingbird-peer")
    except Unavailable as reason:
        frame.note("hello", "Hummingbird 2 was not measured", str(reason))
        return {}
    port = free_port(20420)
    return {"hummingbird": frame.start("hummingbird", [program, port], port)}


def node(frame):
    """Nothing where Node is not installed: then the others are measured without it."""
    try:
        program = frame.tool("node", "nodejs")
    except Unavailable as reason:
        frame.note("hello", "Node's http was not measured", str(reason))
        return {}
    port = free_port(20440)
    return {"node": frame.start("node", [program, BENCH / "peers" / "hello.mjs", port, BODY], port)}


def run(frame):
    port = free_port(20400)
    c = frame.start("c-libuv", [frame.c_peer("hello", "-luv"), port], port)
    web = nginx(frame)
    port = free_port(20430)
    tessera = frame.start(
        "tessera", [frame.product("benchnode"), "--port", port, "--loops", "1"], port)
    servers = {"c-libuv": c, "nginx": web, **hummingbird(frame), **node(frame), "tessera": tessera}
    frame.rounds(
        "hello",
        {name: (lambda server=server: frame.wrk(server, "/hello")) for name, server in servers.items()},
        references=["c-libuv", "nginx", "hummingbird", "node"])

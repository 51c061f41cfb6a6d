"""A small JSON answer: the whole stack beside bare C libuv, nginx `return` and Hummingbird 2."""
from frame import free_port

BODY = ('{"id":"1234567890","name":"hello","text":"a small answer of one hundred bytes, '
        'no more no less"}    ')

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


def run(frame):
    port = free_port(20400)
    c = frame.start("c-libuv", [frame.c_peer("hello", "-luv"), port], port)
    web = nginx(frame)
    port = free_port(20420)
    bird = frame.start("hummingbird", [frame.swift_peer("hummingbird-peer"), port], port)
    port = free_port(20430)
    tessera = frame.start(
        "tessera", [frame.product("benchnode"), "--port", port, "--loops", "1"], port)
    servers = {"c-libuv": c, "nginx": web, "hummingbird": bird, "tessera": tessera}
    frame.rounds(
        "hello",
        {name: (lambda server=server: frame.wrk(server, "/hello")) for name, server in servers.items()},
        references=["c-libuv", "nginx", "hummingbird"])

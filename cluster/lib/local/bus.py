"""NATS: its configuration, with a password of this installation."""
from .folders import secret
from .templates import render, write_if_changed

USER = "tessera"


def write(layout):
    """True if the configuration changed. It holds the password, and nobody else may read it."""
    text = render(
        "nats.conf", port=layout.bus.port, user=USER, password=secret(layout, "nats-tessera"))
    return write_if_changed(layout.config / "nats.conf", text)

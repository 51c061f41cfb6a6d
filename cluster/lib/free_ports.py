"""Prints the first free range of ports at or after the given one, in steps of its length."""
import socket
import sys

LENGTH = 500
LAST = 32768


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def main():
    for base in range(int(sys.argv[1]), LAST - LENGTH, LENGTH):
        if all(is_free(port) for port in range(base, base + LENGTH)):
            print(base)
            return
    sys.exit("no free range of ports below the ephemeral ones")


main()

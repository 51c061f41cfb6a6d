"""Dispatches to the commands; every failure a person can mend ends as one line."""
import sys

from . import commands, up
from .console import Failure, warn

COMMANDS = {
    "check": lambda arguments: up.check(),
    "up": lambda arguments: up.up(),
    "down": lambda arguments: commands.down(),
    "destroy": lambda arguments: commands.destroy(),
    "status": commands.status,
    "logs": commands.logs,
    "restart": commands.restart,
}


def main():
    try:
        COMMANDS[sys.argv[1]](sys.argv[2:])
    except Failure as failure:
        warn(failure)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


main()

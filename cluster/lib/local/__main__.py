"""Dispatches to the commands; every failure a person can mend ends as one line."""
import sys

from . import commands, rebalance, scaling, up
from .console import Failure, warn

COMMANDS = {
    "check": lambda arguments: up.check(),
    "up": lambda arguments: up.up(),
    "down": lambda arguments: commands.down(),
    "destroy": lambda arguments: commands.destroy(),
    "status": commands.status,
    "logs": commands.logs,
    "restart": commands.restart,
    "scale": scaling.scale,
    "upgrade": scaling.upgrade,
    "grow": rebalance.grow,
    "shrink": rebalance.shrink,
    "replace": rebalance.replace,
}


def main():
    try:
        COMMANDS[sys.argv[1]](sys.argv[2:])
    except Failure as failure:
        warn(failure)
        sys.exit(failure.status)
    except KeyboardInterrupt:
        sys.exit(130)


main()

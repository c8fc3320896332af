"""The command `stead`: which commands there are, and how an error leaves.

Exit codes: 0 done, 1 failed, 2 misuse, 3 gateway not reachable, 130 interrupted.

To add a command: write one file with a click command, add one line to COMMANDS.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import click

from stead.cli.common import AWAY, FAILED, INTERRUPTED, Cli
from stead.cli.lazy import LazyGroup
from stead.config import home_dir
from stead.core.errors import GatewayAway, SteadError

#: Name, where it is, one line of help. Shown in this order.
COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("stead.cli.run:up", "Start gateway, node and local model in the foreground."),
    "ask": ("stead.cli.ask:ask", "Ask something and print the answer."),
    "chat": ("stead.cli.chat:chat", "Talk with the agent in the terminal."),
    "status": ("stead.cli.status:status", "Say what works and what does not."),
    "login": ("stead.cli.login:login", "Print a code that signs a browser in."),
    "devices": ("stead.cli.login:devices", "List and sign out browsers; recovery codes."),
    "approvals": ("stead.cli.approvals:approvals", "Show what waits for your word."),
    "approve": ("stead.cli.approvals:approve", "Allow what the agent asks for."),
    "deny": ("stead.cli.approvals:deny", "Forbid what the agent asks for."),
    "answer": ("stead.cli.approvals:answer", "Answer a question of the agent's own."),
    "permit": ("stead.cli.permit:permit", "Show what the agent may do, and why; take back."),
    "jobs": ("stead.cli.jobs:jobs", "List jobs; cancel, retry or answer one."),
    "forget": ("stead.cli.forget:forget", "Forget a message, person, topic, span or text."),
    "prune": ("stead.cli.prune:prune", "Take out what is over and old; return its space."),
    "outbox": ("stead.cli.outbox:outbox", "List replies on their way; settle those in doubt."),
    "calls": ("stead.cli.calls:calls", "List what models were asked; what it cost, and why."),
    "person": ("stead.cli.person:person", "Let family or a guest in; say what they may."),
    "contacts": ("stead.cli.contacts:contacts", "People: find, add, bring in, synchronise."),
    "memory": ("stead.cli.memory:memory", "Search, show and change what stead remembers."),
    "import": ("stead.cli.import_:import_", "Bring in what another assistant remembers."),
    "sandbox": ("stead.cli.sandbox:sandbox", "Run a command in a sandbox; explain what it sees."),
    "undo": ("stead.cli.undo:undo", "Take back what tools changed in files."),
    "why": ("stead.cli.why:why", "Tell the whole story of a message or job."),
    "where": ("stead.cli.where:where", "Tell where a thing lies and what it is for."),
    "logs": ("stead.cli.logs:logs", "Show what the parts of stead logged."),
    "model": ("stead.cli.model:model", "List, fetch and remove local models."),
    "backends": ("stead.cli.backends:backends", "List the model servers and lanes; test one."),
    "services": ("stead.cli.services:services", "List, start, stop and try the light services."),
    "node": (
        "stead.cli.node:node",
        "Run a node here; invite, join, list, drain, retire, revoke.",
    ),
    "gateway": ("stead.cli.run:gateway", "Run the gateway alone, in the foreground."),
    "chaos": ("stead.cli.chaos:chaos", "Break a stead of its own on purpose, and judge."),
    "config": ("stead.cli.config:config", "Check, show or change the settings."),
    "prices": ("stead.cli.prices:prices", "Show what your models cost; renew the list."),
    "secret": ("stead.cli.secret:secret", "Keep values that tools use without seeing them."),
    "key": ("stead.cli.key:key", "Print your key; make, list and revoke keys of programs."),
    "completion": ("stead.cli.completion:completion", "Make the Tab key of a shell know stead."),
    "help": ("stead.cli.help:help_", "Explain a topic, or a command."),
    "version": ("stead.cli.version:version", "Print the version."),
}


@click.group(
    cls=LazyGroup, table=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.option(
    "--home",
    type=click.Path(file_okay=False, readable=False),
    help="Home directory (default: $STEAD_HOME, else ~/.stead).",
)
@click.pass_context
def cli(ctx: click.Context, home: str | None) -> None:
    """The keeper of your own AI stack: records, routes, runs, remembers, explains."""
    if home is not None and not home.strip():
        # An unset variable in a script; the working directory is not what was meant.
        raise click.BadParameter("it is empty", param_hint="'--home'")
    ctx.obj = Cli(Path(home).expanduser().absolute() if home else home_dir())


def main(args: list[str] | None = None) -> int:
    """Run one command line; return its exit code (the console script exits with it)."""
    _occupy()
    try:
        code = cli.main(args, prog_name="stead", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has seen enough; click does the same
        _mute()
        return FAILED
    except GatewayAway as error:
        click.echo(error.message, err=True)
        return AWAY
    except SteadError as error:
        click.echo(error.message, err=True)
        return FAILED
    except OSError as error:  # a full disk below our output, a file that may not be read, ...
        _mute()
        about = f"{error.filename}: " if error.filename else ""
        click.echo(f"This cannot be done: {about}{error.strerror or error}", err=True)
        return FAILED
    return code if isinstance(code, int) else 0


def _occupy() -> None:
    """Point a closed stdin, stdout or stderr to nowhere (``stead ask hi >&-``).

    Else the next file that is opened gets its number, be it the database, and whoever prints
    writes into it; and Python has None where a stream should be.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            fd = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
            if fd != number:
                os.dup2(fd, number)
                os.close(fd)
            if getattr(sys, name) is None:
                file = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
                setattr(sys, name, file)


def _mute() -> None:
    """What could not be written is not tried again when the process ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())

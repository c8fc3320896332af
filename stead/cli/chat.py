"""`stead chat`: a conversation in the terminal, the same one as everywhere else."""

from __future__ import annotations

import sys

import click

from stead.cli.ask import off_option
from stead.cli.common import Cli, on_terminal, sound
from stead.cli.complete import sessions
from stead.config import dumb_terminal


@click.command()
@click.option(
    "--session",
    default="main",
    show_default=True,
    help="The conversation.",
    shell_complete=sessions,
)
@click.option("--new", is_flag=True, help="Begin a new conversation.")
@off_option
@click.option("--plain", is_flag=True, help="Line by line: for a screen reader, or a log.")
@click.pass_obj
def chat(obj: Cli, session: str, new: bool, off_the_record: bool, plain: bool) -> int:
    """Talk with the agent in the terminal. /help lists what else can be said.

    In a pipe each line is a message, and the answers are what is written.
    """
    from stead.cli.talk.talk import Talk  # late: with all of a talk

    talk = Talk(obj.api(), sound(session), off=off_the_record)
    if new and not off_the_record:
        talk.anew()
    try:
        if plain or dumb_terminal() or not (on_terminal(sys.stdin) and on_terminal(sys.stdout)):
            from stead.cli.talk.plain import Plain  # late: either the one or the other

            return Plain(talk).run()
        from stead.cli.talk.live import Live  # late: 0.3 s, for what it draws with

        Live(talk).run()
        return 0
    finally:
        talk.leave()

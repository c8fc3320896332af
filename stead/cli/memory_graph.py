"""`stead memory graph`: what is known of people, places and things, since when, and from where."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from stead.cli.common import Cli, dim, harmless, json_option, one_line, print_json, short, table
from stead.cli.when import day_of, on_day

if TYPE_CHECKING:
    from stead.app.graph import Fact, Graph

_F = TypeVar("_F", bound=Callable[..., Any])


class _Group(click.Group):
    """``stead memory graph NAME`` shows; a first word that is a command is that command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ("-h", "--help")):
            args = ["show", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Group)
def graph() -> None:
    """Show and change what is known of people, places and things.

    `stead memory graph NAME` shows one; without a name: all there are. Its truth is the file
    knowledge/journal.jsonl; nothing in it is overwritten, and everything can be undone.
    """


def _open(obj: Cli) -> Graph:
    from stead.app.graph import graph_of  # late: apsw and msgspec, 30 ms

    return graph_of(obj.home)


def _date(*names: str, help: str) -> Callable[[_F], _F]:
    return click.option(*names, callback=on_day, metavar="DATE", help=help)


@graph.command()
@click.argument("name", default="")
@_date("--as-of", help="What held then (2026-03, 2026-03-14, 3d ago...).")
@_date("--known-at", help="By what was known then.")
@click.option("--history", is_flag=True, help="All that was ever said, taken back or not.")
@json_option
@click.pass_obj
def show(obj: Cli, name: str, as_of: int, known_at: int, history: bool, as_json: bool) -> None:
    """Show what is known of NAME: what holds, what ended, relations, contradictions."""
    with _open(obj) as known:
        told = known.trouble
        if not name:
            _overview(known, as_json)
        else:
            data = _of(known, name, as_of, known_at, history)
            if as_json:
                print_json({**data, "trouble": told})
            else:
                _print(data, as_of or known_at)
    for line in told:
        click.echo(f"knowledge/journal.jsonl: {harmless(line)}", err=True)


def _of(known: Graph, name: str, as_of: int, known_at: int, history: bool) -> dict[str, Any]:
    entity = known.entity(name, known_at=known_at)
    if history:
        facts = known.history(entity.id)
    else:
        facts = known.facts(entity.id, as_of=as_of, known_at=known_at, ended=not as_of)
    return {
        "entity": entity,
        "facts": facts,
        "neighbours": known.neighbours(entity.id, as_of=as_of, known_at=known_at),
        "contradictions": known.contradictions(entity.id),
    }


def _overview(known: Graph, as_json: bool) -> None:
    entities = known.entities()
    if as_json:
        print_json({"entities": entities, "counts": known.counts(), "trouble": known.trouble})
        return
    if not entities:
        click.echo("Nothing is known yet. Say something: stead memory graph assert Anna likes tea")
        return
    rows = [
        (harmless(e.name), e.kind, one_line(", ".join(e.aliases), 40), short(e.id))
        for e in entities
    ]
    click.echo(table(("NAME", "KIND", "ALSO", "ID"), rows))


def _print(data: dict[str, Any], at: int) -> None:
    entity = data["entity"]
    also = f", also {', '.join(entity.aliases)}" if entity.aliases else ""
    click.echo(harmless(f"{entity.name} ({entity.kind or 'thing'}{also})") + dim(f"  {entity.id}"))
    now = at or int(time.time() * 1000)
    if data["facts"]:
        click.echo(table(("", "FACT", "HOLDS", "KNOWN", "FROM", "ID"), _rows(data["facts"], now)))
    else:
        click.echo("No facts." if not at else "No facts that held then.")
    for edge in data["neighbours"]:
        if not edge.outwards:
            click.echo(harmless(f"  <- {edge.fact.words}"))
    for pair in data["contradictions"]:
        if pair.open:
            one, other = pair.older, pair.newer
            click.echo(
                harmless(
                    f"These contradict each other: {one.value!r} ({_span(one)}) and"
                    f" {other.value!r} ({_span(other)}). End one: stead memory graph close"
                    f" {short(one.id)} --on DATE"
                )
            )


def _rows(facts: Iterable[Fact], now: int) -> list[tuple[str, ...]]:
    return [
        (
            "x" if fact.known_to else " " if fact.holds(now) else "-",
            one_line(f"{fact.predicate} {fact.value}", 60) + (" (foreign)" if fact.foreign else ""),
            _span(fact),
            day_of(fact.known_from),
            one_line(", ".join(fact.source) or fact.by, 40),
            short(fact.id),
        )
        for fact in facts
    ]


def _span(fact: Fact) -> str:
    since = day_of(fact.valid_from) if fact.valid_from else "?"
    until = day_of(fact.valid_to) if fact.valid_to else ""
    return f"{since} to {until}" if until else f"since {since}"


# --- changing ----------------------------------------------------------------


@graph.command("assert")
@click.argument("subject")
@click.argument("predicate")
@click.argument("value")
@_date("--from", "since", help="Since when it holds.")
@_date("--to", "until", help="Until when it held.")
@click.option("--kind", default="", help="What the subject is: person, project, place, device...")
@click.option("--entity", "kind_of_value", metavar="KIND", help="VALUE is a thing of its own.")
@click.option("--single/--several", default=None, help="Whether there can be but one at a time.")
@click.option("--confidence", type=click.FloatRange(0, 1), default=1.0)
@click.option("--source", multiple=True, help="Where it stands (memory/2026-11-20.md#L41).")
@json_option
@click.pass_obj
def assert_(
    obj: Cli,
    subject: str,
    predicate: str,
    value: str,
    since: int,
    until: int,
    kind: str,
    kind_of_value: str | None,
    single: bool | None,
    confidence: float,
    source: tuple[str, ...],
    as_json: bool,
) -> None:
    """Say that something holds: assert Anna "lives in" Berlin --from 2026-03."""
    related = kind_of_value is not None
    with _open(obj) as known:
        fact = known.assert_fact(
            subject,
            predicate,
            "" if related else value,
            object=value if related else "",
            kind=kind,
            object_kind=kind_of_value or "",
            valid_from=since,
            valid_to=until,
            single=single,
            confidence=confidence,
            source=source,
        )
        gave_way = [f for f in known.facts(fact.subject, ended=True) if f.closed_by == fact.id]
    if as_json:
        print_json({"fact": fact, "ended": gave_way})
        return
    click.echo(harmless(f"{fact.words} ({_span(fact)})") + dim(f"  {short(fact.id)}"))
    for old in gave_way:
        click.echo(harmless(f"Before that: {old.words} ({_span(old)})"))


@graph.command()
@click.argument("fact")
@_date("--on", "at", help="When it ceased to hold (default: now).")
@click.option("--why", default="")
@json_option
@click.pass_obj
def close(obj: Cli, fact: str, at: int, why: str, as_json: bool) -> None:
    """Say that a FACT (its id) no longer holds. What was known stays."""
    with _open(obj) as known:
        ended = known.close_fact(fact, at, why=why)
    _say(ended, f"{ended.words} ({_span(ended)})", as_json)


@graph.command()
@click.argument("ids", nargs=-1, required=True)
@click.option("--why", default="")
@json_option
@click.pass_obj
def retract(obj: Cli, ids: tuple[str, ...], why: str, as_json: bool) -> None:
    """Say that facts (IDS) never held, or that a thing is not wanted. It can be undone."""
    with _open(obj) as known:
        done = known.retract(*ids, why=why)
    _say(done, f"Taken out. Undo it: stead memory graph undo {short(done.id)}", as_json)


@graph.command()
@click.argument("into")
@click.argument("others", nargs=-1, required=True)
@json_option
@click.pass_obj
def merge(obj: Cli, into: str, others: tuple[str, ...], as_json: bool) -> None:
    """Say that OTHERS are the same as INTO. `split` takes them apart again."""
    with _open(obj) as known:
        whole = known.merge(into, *others)
    also = ", ".join(whole.aliases)
    _say(whole, f"{whole.name} is also {also}. Apart again: stead memory graph split", as_json)


@graph.command()
@click.argument("name")
@click.option("--fact", "facts", multiple=True, help="A fact that is of another.")
@click.option("--new", "new_name", default="", help="The name of that other.")
@json_option
@click.pass_obj
def split(obj: Cli, name: str, facts: tuple[str, ...], new_name: str, as_json: bool) -> None:
    """Take apart what was merged; or, with --fact, two that were always taken for one."""
    with _open(obj) as known:
        parts = known.split(name, facts=facts, new_name=new_name)
    names = ", ".join(f"{part.name} ({short(part.id)})" for part in parts)
    _say(parts, f"On their own again: {names}", as_json)


@graph.command()
@click.argument("operation", default="")
@click.option("--batch", default="", help="All that was done in one go (an import, a review).")
@json_option
@click.pass_obj
def undo(obj: Cli, operation: str, batch: str, as_json: bool) -> None:
    """Take back an OPERATION (see `log`); without one, the last. An undo can be undone."""
    with _open(obj) as known:
        done = known.undo(operation, batch=batch)
    _say(done, f"Taken back. Not after all? stead memory graph undo {short(done.id)}", as_json)


@graph.command()
@click.option("-n", "--limit", default=20, help="So many at most.")
@json_option
@click.pass_obj
def log(obj: Cli, limit: int, as_json: bool) -> None:
    """List what was done, the last first."""
    with _open(obj) as known:
        done = known.operations(limit)
    if as_json:
        print_json(done)
        return
    rows = [
        (
            day_of(one.operation.at),
            one.operation.op + (" (undone)" if one.undone else ""),
            one_line(one.words, 60),
            one.operation.by,
            short(one.operation.id),
        )
        for one in done
    ]
    click.echo(table(("WHEN", "WHAT", "", "BY", "ID"), rows))


def _say(data: object, words: str, as_json: bool) -> None:
    if as_json:
        print_json(data)
    else:
        click.echo(harmless(words))

"""`stead contacts`: people, how to reach them, what is to be done about them."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from stead.cli.common import (
    Cli,
    dim,
    harmless,
    json_option,
    on_terminal,
    one_line,
    print_json,
    short,
    size,
    table,
)
from stead.cli.when import day_of, on_day

if TYPE_CHECKING:
    from stead.app.contacts import Book, Fact, Imported, Person

_DAY_MS = 86_400_000


@click.group()
def contacts() -> None:
    """People: find, add, bring in and take out, synchronise with a telephone's address book.

    Each card is kept whole in knowledge/contacts/*.vcf. WHO is a name, an address, or an id.
    """


def _open(obj: Cli) -> AbstractContextManager[Book]:
    from stead.app.contacts import book_of  # late: apsw and msgspec, 30 ms

    return book_of(obj.home)


@contacts.command("list")
@click.argument("words", default="")
@click.option("-n", "--limit", default=0, help="So many at most.")
@json_option
@click.pass_obj
def list_(obj: Cli, words: str, limit: int, as_json: bool) -> None:
    """List everyone, or those whom WORDS may mean."""
    with _open(obj) as book:
        people = list(book.people(words, limit))
        told = book.cards.troubles()
    if as_json:
        print_json(people)
    elif people:
        rows = [(harmless(p.name), _of(p, "email"), _of(p, "tel"), short(p.id)) for p in people]
        click.echo(table(("NAME", "EMAIL", "TELEPHONE", "ID"), rows))
    else:
        click.echo("Nobody. Bring some in: stead contacts import FILE.vcf")
    for path, why in told:
        click.echo(harmless(f"{path} is no vCard: {why}"), err=True)


def _of(person: Person, kind: str) -> str:
    return one_line(", ".join(one.shown for one in person.addresses if one.kind == kind), 40)


@contacts.command()
@click.argument("who")
@json_option
@click.pass_obj
def show(obj: Cli, who: str, as_json: bool) -> None:
    """Show all that is known of somebody, and when they were last heard of."""
    from stead.app.contacts import last_contact  # late: as above

    with _open(obj) as book:
        person = book.person(who)
        facts = book.graph.facts(person.id)
        cards = {path: book.cards.read(path).text() for path in person.cards if _is(obj, path)}
    seen = last_contact(obj.home, person)
    if as_json:
        print_json({**asdict(person), "facts": facts, "last_contact": seen, "vcards": cards})
        return
    also = f"  (also {', '.join(person.aliases)})" if person.aliases else ""
    click.echo(harmless(person.name + also) + dim(f"  {person.id}"))
    for one in person.addresses:
        kinds = f" ({', '.join(one.types)})" if one.types else ""
        click.echo(harmless(f"  {one.kind:<6} {one.shown}{kinds}"))
    for fact in facts:
        due = f", due {day_of(fact.due)}" if fact.due else ""
        words = f"  {fact.predicate}: {fact.value} ({day_of(fact.known_from)}{due})"
        click.echo(harmless(words) + dim(f"  {short(fact.id)}"))
    if seen is not None:
        how = "wrote" if seen.wrote else "spoken of"
        said = f"  last {how} {day_of(seen.at)}: {one_line(seen.text, 80)}"
        click.echo(harmless(said) + dim(f"  {seen.source}"))
    for path in person.cards:
        click.echo(dim(f"  {path}"))


def _is(obj: Cli, path: str) -> bool:
    return (obj.home / path).is_file()


@contacts.command()
@click.argument("name")
@click.option("--email", "emails", multiple=True)
@click.option("--phone", "phones", multiple=True)
@click.option("--org", default="")
@json_option
@click.pass_obj
def add(
    obj: Cli, name: str, emails: tuple[str, ...], phones: tuple[str, ...], org: str, as_json: bool
) -> None:
    """Add somebody new."""
    with _open(obj) as book:
        person = book.add(name, emails=emails, phones=phones, organisation=org)
    _say(person, f"{person.name} is in {person.cards[0]}", as_json)


@contacts.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--dry-run", is_flag=True, help="Say what would become of it; change nothing.")
@json_option
@click.pass_obj
def import_(obj: Cli, file: Any, dry_run: bool, as_json: bool) -> None:
    """Bring in a FILE of vCards (2.1, 3.0, 4.0); - is the standard input.

    What is there word for word is left alone; a card that shares an address with somebody of the
    same name becomes another card of theirs; of the rest, new people are made.
    """
    shown = on_terminal(sys.stderr)

    def progress(cards: int, read: int) -> None:
        if shown:
            click.echo(f"\r{cards} cards, {size(read)} ", err=True, nl=False)

    with _open(obj) as book:
        told = book.import_(file, dry=dry_run, progress=progress)
    if shown:
        click.echo(err=True)
    if as_json:
        print_json({**asdict(told), "dry_run": dry_run})
    else:
        _tell(told, dry_run)


def _tell(told: Imported, dry: bool) -> None:
    would = "would be " if dry else ""
    click.echo(
        f"{told.read} cards: {told.new} {would}new, {told.joined} {would}joined with people who"
        f" were there, {told.same} there already, {told.bad_count} unreadable."
    )
    for why in told.bad[:10]:
        click.echo(harmless(f"  {why}"), err=True)
    if told.bad_count > 10:
        click.echo(f"  and {told.bad_count - 10} more", err=True)
    if told.unsure:
        click.echo(f"{told.unsure} may be somebody who was there: stead contacts merge")
    if not dry and told.new + told.joined:
        click.echo(f"Take it all back: stead contacts undo --batch {told.batch}")


@contacts.command()
@click.argument("who", default="")
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="A file (default: stdout).")
@click.option("--vcard", type=click.Choice(["3.0", "4.0"]), default=None, help="The version.")
@click.pass_obj
def export(obj: Cli, who: str, output: str | None, vcard: str | None) -> None:
    """Write vCards of everyone, or of WHO; what several cards of one say, in one."""
    count = 0
    with _open(obj) as book, click.open_file(output or "-", "wb", atomic=bool(output)) as file:
        for text in book.export(who, vcard or ""):
            file.write(text.encode())
            count += 1
    if output:
        click.echo(f"{count} in {output}")


@contacts.command()
@click.argument("url", default="")
@click.option("--user", default="")
@click.option("--secret", default="", help="Name of the password (see `stead secret set`).")
@click.option("--force", is_flag=True, help="Also where many contacts would vanish.")
@json_option
@click.pass_obj
def sync(obj: Cli, url: str, user: str, secret: str, force: bool, as_json: bool) -> None:
    """Synchronise with a CardDAV server; without URL, with those that are known."""
    from stead.app.contacts import synchronise  # late: http and XML

    def ask(name: str) -> str:
        return str(click.prompt(f"Password of {name}", hide_input=True, err=True))

    with _open(obj) as book:
        done = synchronise(book, url, user=user, secret=secret, force=force, password=ask)
    if as_json:
        print_json({at: asdict(told) for at, told in done.items()})
        return
    if not done:
        click.echo("No server is known yet. Name one: stead contacts sync URL --user NAME")
    for at, told in done.items():
        click.echo(
            f"{at}: {told.pulled} came, {told.pushed} went, {told.removed_here} removed here,"
            f" {told.removed_there} removed there."
        )
        for words in (*told.conflicts, *told.bad):
            click.echo(harmless(f"  {words}"), err=True)


@contacts.command()
@click.argument("who")
@click.argument("text")
@json_option
@click.pass_obj
def note(obj: Cli, who: str, text: str, as_json: bool) -> None:
    """Note something about somebody."""
    with _open(obj) as book:
        fact = book.note(who, text)
    _say(fact, f"Noted of {fact.subject_name}: {fact.value}", as_json)


@contacts.command("follow-up")
@click.argument("who")
@click.argument("text", default="")
@click.option("--on", "due", callback=on_day, metavar="DATE", help="By when (in 2w, 2026-12-01).")
@click.option("--done", is_flag=True, help="It is done (WHO may be its id).")
@json_option
@click.pass_obj
def follow_up(obj: Cli, who: str, text: str, due: int, done: bool, as_json: bool) -> None:
    """Remember to do something about somebody, by a day."""
    if done == bool(text):
        raise click.UsageError("Say what is to be done, or --done.")
    with _open(obj) as book:
        at = due or int(time.time() * 1000)
        fact = book.done(who) if done else book.follow_up(who, text, at)
    words = "Done: " if done else f"By {day_of(fact.due)}: "
    _say(fact, f"{words}{fact.subject_name}: {fact.value}", as_json)


@contacts.command()
@click.option("--days", default=0, help="Also what is due in the next days.")
@json_option
@click.pass_obj
def due(obj: Cli, days: int, as_json: bool) -> None:
    """List follow-ups that are due."""
    with _open(obj) as book:
        waiting = book.due(int(time.time() * 1000) + days * _DAY_MS)
    if as_json:
        print_json(waiting)
    elif waiting:
        click.echo(table(("DUE", "WHO", "WHAT", "ID"), _rows(waiting)))
    else:
        click.echo("Nothing is due.")


def _rows(facts: Iterable[Fact]) -> list[tuple[str, ...]]:
    return [
        (day_of(f.due), harmless(f.subject_name), one_line(f.value), short(f.id)) for f in facts
    ]


@contacts.command()
@click.argument("into", default="")
@click.argument("others", nargs=-1)
@json_option
@click.pass_obj
def merge(obj: Cli, into: str, others: tuple[str, ...], as_json: bool) -> None:
    """Say that OTHERS are the same person as INTO; without names, list who may be."""
    if into and not others:
        raise click.UsageError("Say who is the same person: stead contacts merge INTO OTHER")
    with _open(obj) as book:
        if into:
            ids = [book.entity(who).id for who in (into, *others)]
            whole = book.graph.merge(*ids)
            also = ", ".join(whole.aliases)
            _say(whole, f"{whole.name} is also {also}. Apart again: stead contacts split", as_json)
            return
        found = book.candidates()
    if as_json:
        print_json(found)
    for one in found if not as_json else ():
        names = f"{one.one.name} ({short(one.one.id)}) and {one.other.name} ({short(one.other.id)})"
        click.echo(harmless(f"{names}: {one.why}"))
    if not found and not as_json:
        click.echo("Nobody is there twice, as far as names and addresses tell.")


@contacts.command()
@click.argument("who")
@json_option
@click.pass_obj
def split(obj: Cli, who: str, as_json: bool) -> None:
    """Take apart again what was merged."""
    with _open(obj) as book:
        parts = book.graph.split(book.entity(who).id)
    names = ", ".join(f"{part.name} ({short(part.id)})" for part in parts)
    _say(parts, f"On their own again: {names}", as_json)


@contacts.command()
@click.argument("who")
@json_option
@click.pass_obj
def remove(obj: Cli, who: str, as_json: bool) -> None:
    """Take somebody out. It can be undone; `stead forget` leaves nothing."""
    with _open(obj) as book:
        done = book.remove(who)
    _say(done, f"Removed. Undo it: stead contacts undo {short(done.id)}", as_json)


@contacts.command()
@click.argument("operation", default="")
@click.option("--batch", default="", help="All of an import.")
@json_option
@click.pass_obj
def undo(obj: Cli, operation: str, batch: str, as_json: bool) -> None:
    """Take back an operation (without one, the last) or a whole import."""
    with _open(obj) as book:
        done = book.undo(operation, batch)
    _say(done, f"Taken back. Not after all? stead contacts undo {short(done.id)}", as_json)


def _say(data: object, words: str, as_json: bool) -> None:
    if as_json:
        print_json(data)
    else:
        click.echo(harmless(words))

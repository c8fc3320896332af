"""`stead login` and `stead devices`: who may look at the page."""

from __future__ import annotations

from typing import Any

import click

from stead.cli.common import Cli, harmless, json_option, print_json, table, when
from stead.cli.http import quote


@click.command()
@click.option("--person", metavar="NAME", default="owner", help="Who shall sign in with it.")
@click.option(
    "--minutes", type=click.IntRange(1, 10_080), default=10, show_default=True,
    help="How long it holds.",
)  # fmt: skip
@json_option
@click.pass_obj
def login(obj: Cli, person: str, minutes: int, as_json: bool) -> None:
    """Print a code that signs a browser in, once."""
    made = obj.api().post("/api/v1/logins", {"person": person, "for_s": minutes * 60})
    if as_json:
        print_json(made)
        return
    whose = "" if made["person"] == "owner" else f" as {harmless(made['name'])}"
    click.echo(f"To sign in{whose}, open this (until {when(made['ends_at'])}, once):")
    click.echo(f"  {made['url']}")
    click.echo(f"or open {made['page']} and type the code:")
    click.echo(f"  {made['code']}")


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def devices(ctx: click.Context, /, as_json: bool) -> None:
    """List browsers that are signed in, and passkeys; sign out; print recovery codes."""
    if ctx.invoked_subcommand:
        return
    obj: Cli = ctx.obj
    found = _all(obj)
    if as_json:
        print_json(found)
        return
    rows = [
        (one["id"], harmless(one["called"]), harmless(one["name"]), one["how"],
         when(one["made_at"]), when(one["seen_at"]))
        for one in found["devices"]
    ]  # fmt: skip
    if rows:
        click.echo(table(("DEVICE", "WHO", "WHAT", "BY", "SIGNED IN", "LAST USED"), rows))
    else:
        click.echo("No browser is signed in. `stead login` prints a code for one.")
    keys = [
        (one["id"], harmless(one["called"]), harmless(one["name"]), one["rp"],
         when(one["made_at"]), when(one["used_at"]) if one["used_at"] else "never")
        for one in found["passkeys"]
    ]  # fmt: skip
    if keys:
        click.echo("\n" + table(("PASSKEY", "WHO", "MADE ON", "FOR", "ADDED", "LAST USED"), keys))
    click.echo(f"\nThe owner's recovery codes left: {found['recovery_left']}")


@devices.command()
@click.argument("idents", metavar="[ID...]", nargs=-1)
@click.option("--all", "whose", metavar="PERSON", default="", help="Sign out all of a person's.")
@json_option
@click.pass_obj
def revoke(obj: Cli, idents: tuple[str, ...], whose: str, as_json: bool) -> None:
    """Sign browsers out, or remove passkeys, by their ID; at once."""
    if not idents and not whose:
        raise click.UsageError("Which? Give an ID of `stead devices`, or --all PERSON.")
    api, done = obj.api(), []
    if whose:
        done.append(api.delete(f"/api/v1/devices?person={quote(whose)}"))
    if idents:
        passkeys = {one["id"] for one in api.get("/api/v1/devices", limit=1)["passkeys"]}
        for ident in idents:
            kind = "passkeys" if ident in passkeys else "devices"
            done.append(api.delete(f"/api/v1/{kind}/{quote(ident)}"))
    if as_json:
        print_json(done)
        return
    for one in done:
        if "removed" in one:
            click.echo(f"The passkey {one['id']} is removed.")
        elif "person" in one:
            click.echo(f"Signed out: {one['revoked']}")
        else:
            click.echo(f"{one['id']} is signed out.")


@devices.command("recovery-codes")
@click.option("--person", metavar="NAME", default="owner", help="Whose.")
@json_option
@click.pass_obj
def recovery_codes(obj: Cli, person: str, as_json: bool) -> None:
    """Print a sheet of codes, each good for one sign-in; those there were are void."""
    made = obj.api().post("/api/v1/recovery-codes", {"person": person})
    if as_json:
        print_json(made)
        return
    click.echo("Each of these signs in once. They are printed this once: keep them on paper.")
    for code in made["codes"]:
        click.echo(f"  {code}")


def _all(obj: Cli) -> dict[str, Any]:
    """Every page of the list."""
    api = obj.api()
    found: dict[str, Any] = api.get("/api/v1/devices", limit=500)
    page = found
    while page["more"]:
        page = api.get("/api/v1/devices", limit=500, before=page["next"])
        found["devices"] += page["devices"]
    return {name: value for name, value in found.items() if name not in ("more", "next")}

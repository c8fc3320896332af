"""vCards as telephones, servers and malice write them."""

from __future__ import annotations

import io

import pytest
import vobject
from hypothesis import given, settings
from hypothesis import strategies as st

from stead.memory.contacts.vcard import Bad, Card, Property, escape, parse, read_cards


def card(*lines: str, version: str = "3.0") -> Card:
    return parse("\r\n".join(["BEGIN:VCARD", f"VERSION:{version}", *lines, "END:VCARD", ""]))


def test_every_property_comes_back_as_it_was() -> None:
    """Order, groups, parameters, spelling, what nobody knows."""
    lines = [
        "FN:Anna",
        "item1.X-ABLabel:_$!<Other>!$_",
        'ADR;TYPE="home,pref";LABEL="A:B;C":;;Street 1\\, 2\\nx;Town;;1;DE',
        "X-MADE-UP;X-A=1;X-A=2:a:b;c,d\\\\",
        "NOTE:",
        "TEL;VALUE=uri:tel:+1-555",
    ]
    made = card(*lines, version="4.0")
    assert made.text().split("\r\n")[2:-2] == lines
    assert parse(made.text()) == made


def test_a_telephone_s_quoted_printable() -> None:
    """2.1 with soft line breaks, charsets, bare types, and a photograph."""
    raw = (
        b"BEGIN:VCARD\r\nVERSION:2.1\r\n"
        b"N;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:M=C3=BCller;J=C3=BCrgen;;;\r\n"
        b"NOTE;ENCODING=QUOTED-PRINTABLE;CHARSET=ISO-8859-1:Gr=FC=DFe,=0D=0A=\r\n"
        b"zwei\r\nTEL;CELL;PREF:0171 1\r\nORG:Acme, Inc;Sales\r\n"
        b"PHOTO;ENCODING=BASE64;JPEG:/9j/\r\n 4AAQ\r\n\r\nEND:VCARD\r\n"
    )
    made = parse(raw)
    assert made.name == "Jürgen Müller"
    assert made.first("NOTE") == "Grüße,\nzwei"
    assert made.all("TEL")[0].types() == ("cell", "pref")
    assert made.all("ORG")[0].parts() == ["Acme, Inc", "Sales"]
    assert made.all("PHOTO")[0].line() == "PHOTO;ENCODING=b;TYPE=JPEG:/9j/4AAQ"
    assert "PHOTO:data:image/jpeg;base64,/9j/4AAQ" in made.text("4.0")
    assert "\r\nFN:Jürgen Müller\r\n" in made.text("4.0")
    back = parse(made.text("4.0")).text("3.0")
    assert "PHOTO;ENCODING=b;TYPE=JPEG:/9j/4AAQ" in back


@pytest.mark.parametrize(
    "raw",
    [
        "Jürgen".encode("cp1252"), "Jürgen".encode(), b"\xef\xbb\xbfJ\xc3\xbcrgen",
    ],
)  # fmt: skip
def test_odd_encodings(raw: bytes) -> None:
    """Nothing says which; a mark at the beginning does not matter."""
    text = b"BEGIN:VCARD\nVERSION:3.0\nFN:" + raw.removeprefix(b"\xef\xbb\xbf") + b"\nEND:VCARD\n"
    text = b"\xef\xbb\xbf" + text if raw.startswith(b"\xef") else text
    assert parse(text).name == "Jürgen"


def test_utf_16_and_old_line_ends() -> None:
    """As some address books write."""
    text = "BEGIN:VCARD\rVERSION:3.0\rFN:Jürgen\rEND:VCARD\r"
    assert parse(b"\xff\xfe" + text.encode("utf-16-le")).name == "Jürgen"
    assert parse(text.encode()).name == "Jürgen"


def test_folds_within_a_character() -> None:
    """RFC 6350 folds bytes."""
    whole = "FN:" + "ü" * 60
    raw = whole.encode()
    folded = raw[:40] + b"\r\n " + raw[40:81] + b"\r\n\t" + raw[81:]
    made = parse(b"BEGIN:VCARD\r\nVERSION:4.0\r\n" + folded + b"\r\nEND:VCARD\r\n")
    assert made.name == "ü" * 60
    assert all(len(line.encode()) <= 75 for line in made.text().split("\r\n"))


def test_a_card_within_a_card() -> None:
    """An AGENT of 2.1 stays within the one it belongs to."""
    made = parse(
        "BEGIN:VCARD\nVERSION:2.1\nN:Boss;The\nAGENT:\nBEGIN:VCARD\nVERSION:2.1\nN:Aide;Her\n"
        "END:VCARD\nTEL:12345\nEND:VCARD\n"
    )
    assert made.name == "The Boss" and made.first("TEL") == "12345"
    assert [one.name for one in made.properties] == [
        "N", "AGENT", "BEGIN", "VERSION", "N", "END", "TEL",
    ]  # fmt: skip


def test_hostile_cards_are_told_of_and_passed_by() -> None:
    """Too large, no end, no colon, nothing in it; those around them are read."""
    good = b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Good\r\nEND:VCARD\r\n"
    huge = b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:H\r\nPHOTO:" + b"A" * 9_000_000 + b"\r\nEND:VCARD\r\n"
    bad = b"BEGIN:VCARD\r\nVERSION:3.0\r\nno colon\r\nEND:VCARD\r\n"
    empty = b"BEGIN:VCARD\r\nEND:VCARD\r\n"
    nested = b"BEGIN:VCARD\r\n" * 500
    data = good + huge + good + bad + b"rubbish\x00\xff\r\n" + empty + good + nested
    found = [one for one, _ in read_cards(io.BytesIO(data))]
    assert [one.name for one in found if isinstance(one, Card)] == ["Good"] * 3
    told = [one.why for one in found if isinstance(one, Bad)]
    assert len(told) == 4 and "longer than" in told[0] and "no END" in told[3]


def test_another_reader_understands_what_is_written() -> None:
    """vobject, which servers use."""
    made = Card(
        (
            Property("FN", escape("Anna; Schmidt, née\nX")), Property("N", "Schmidt;Anna;;;"),
            Property("NOTE", escape("long " * 60)),
            Property("EMAIL", "a@b.de", (("TYPE", "home"),)),
        ),
        "3.0",
    )  # fmt: skip
    read = vobject.readOne(made.text())
    assert read.fn.value == "Anna; Schmidt, née\nX"
    assert read.note.value == "long " * 60
    assert read.email.type_param == "home"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["FN", "NOTE", "X-A", "TEL", "ADR"]),
            st.text(st.characters(exclude_categories=["Cs", "Cc"])),
        ),
        min_size=1,
    )
)
def test_words_survive_the_way(said: list[tuple[str, str]]) -> None:
    """Whatever is written comes back."""
    made = Card(tuple(Property(name, escape(text)) for name, text in said), "4.0")
    assert [(one.name, one.text) for one in parse(made.text()).properties] == said


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_make_it_fall(noise: bytes) -> None:
    """Each card is read or told of."""
    data = b"BEGIN:VCARD\r\n" + noise + b"\r\nEND:VCARD\r\n"
    for one, size in read_cards(io.BytesIO(data)):
        assert size <= len(data) + 3
        if isinstance(one, Card):
            assert isinstance(parse(one.text()), Card)

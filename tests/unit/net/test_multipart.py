"""Forms: what clients send, and what nobody should."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead.net.multipart import Form, parse

KIND = "multipart/form-data; boundary=B"


def form(*parts: tuple[str, bytes]) -> Form:
    body = b"".join(
        b"--B\r\n" + head.encode() + b"\r\n\r\n" + data + b"\r\n" for head, data in parts
    )
    return parse(body + b"--B--\r\n", KIND)


def test_fields_and_files() -> None:
    """Text, files, lists and repeated names, as curl, browsers and the OpenAI client write them."""
    found = form(
        ('Content-Disposition: form-data; name="model"', b"whisper-1"),
        ('Content-Disposition: form-data; name="t[]"', b"word"),
        ('content-disposition: FORM-DATA; NAME="t[]"', b"segment"),
        ("Content-Disposition: form-data; name=plain; filename=a.wav", b""),
        (
            'Content-Disposition: form-data; name="file"; filename="a \\"b\\" %22c;.wav"\r\n'
            "Content-Type: audio/wav",
            b"\r\n--not the end\r\n\0\xff",
        ),
    )
    assert found.text("model") == "whisper-1"
    assert found.text("nothing", "else") == "else"
    assert found.texts("t") == ["word", "segment"]
    file = found.part("file")
    assert file is not None
    assert (file.filename, file.content_type) == ('a "b" "c;.wav', "audio/wav")
    assert bytes(file.data) == b"\r\n--not the end\r\n\0\xff"
    empty = found.part("plain")
    assert empty is not None and (empty.filename, bytes(empty.data)) == ("a.wav", b"")


def test_quoted_boundaries_and_preambles() -> None:
    """A boundary in quotes, words before the first one and after the last one."""
    kind = 'Multipart/Form-Data; charset=utf-8; boundary="x y"'
    body = b'hello\r\n--x y\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x y--\r\nbye'
    assert parse(body, kind).text("a") == "1"
    assert parse(b"--B--\r\n", KIND).parts == ()


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", KIND), (b"x", KIND), (b"--B", KIND), (b"--B\r\n", KIND), (b"--BX\r\n\r\n--B--", KIND),
        (b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\nxyz', KIND),
        (b'--B\r\nContent-Disposition: form-data; name="a"\r\nxyz\r\n--B--', KIND),
        (b"--B\r\nContent-Disposition: form-data\r\n\r\n1\r\n--B--\r\n", KIND),
        (b"--B--", "multipart/form-data"), (b"--B--", "text/plain"), (b"--B--", ""),
        (b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' * 300 + b"--B--", KIND),
    ],
)  # fmt: skip
def test_what_is_no_form_is_told(body: bytes, kind: str) -> None:
    """Each with words, none with anything but ``ValueError``."""
    with pytest.raises(ValueError, match=r"form|field"):
        parse(body, kind)


def test_text_that_is_none() -> None:
    """A field that should be text says so when it is not."""
    with pytest.raises(ValueError, match="language"):
        form(('Content-Disposition: form-data; name="language"', b"\xff")).text("language")


@given(st.lists(st.binary(max_size=60), max_size=5))
def test_every_file_comes_back(files: list[bytes]) -> None:
    """Whatever bytes a file has, they are what is read."""
    files = [data for data in files if b"\r\n--B" not in b"\r\n" + data]
    found = form(
        *((f'Content-Disposition: form-data; name="f{n}"', data) for n, data in enumerate(files))
    )
    assert [bytes(part.data) for part in found.parts] == files
    assert [part.name for part in found.parts] == [f"f{n}" for n in range(len(files))]


@given(st.binary(max_size=200))
def test_no_bytes_break_it(junk: bytes) -> None:
    """Anything is a form or a ``ValueError``."""
    for body in (junk, b"--B\r\n" + junk, b"--B\r\n" + junk + b"\r\n--B--\r\n"):
        try:
            parse(body, KIND)
        except ValueError as error:
            assert str(error)

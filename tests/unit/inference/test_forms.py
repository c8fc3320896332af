"""Forms at the model door: the model's name is read and changed, all else stays as it came."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead.core.errors import BadRequest
from stead.inference.plane import form
from stead.net.multipart import parse

KIND = 'multipart/form-data; boundary="b-1"'
MODEL = 'Content-Disposition: form-data; name="model"'
FILE = 'Content-Disposition: form-data; name="file"; filename="model"\r\nContent-Type: audio/wav'
OTHER = "Content-Disposition: form-data; name=language"


def body(*parts: tuple[str, bytes], before: bytes = b"", after: bytes = b"") -> bytes:
    middle = b"".join(b"--b-1\r\n%b\r\n\r\n%b\r\n" % (h.encode(), data) for h, data in parts)
    return before + middle + b"--b-1--\r\n" + after


def seen(whole: bytes) -> list[tuple[str, str, bytes]]:
    return [(part.name, part.filename, bytes(part.data)) for part in parse(whole, KIND).parts]


@given(sound=st.binary(max_size=40), before=st.sampled_from([b"", b"hello\r\n"]))
def test_another_model_and_nothing_else(sound: bytes, before: bytes) -> None:
    """Wherever it stands, the name of the model becomes another, longer or shorter; not a byte of
    the rest does. A form without one is given one."""
    if b"--b-1" in sound:
        return
    file = (FILE, sound)
    for parts in (
        [(MODEL, b"whisper-1"), file],
        [file, (OTHER, b"de"), (MODEL, b"")],
        [file, (OTHER, b"de")],
    ):
        whole = body(*parts, before=before, after=b"bye")
        made = form.renamed(whole, KIND, "moonshine-tiny-en")
        assert ("model", "", b"moonshine-tiny-en") in seen(made)
        rest = [part for part in seen(whole) if part[0] != "model"]
        assert [part for part in seen(made) if part[0] != "model"] == rest
        named = body(*[(head, b"moonshine-tiny-en" if head == MODEL else d) for head, d in parts],
                     before=before, after=b"bye")  # fmt: skip
        if (MODEL, b"") in parts or (MODEL, b"whisper-1") in parts:
            assert made == named


def test_the_short_fields() -> None:
    """Of a name that comes twice the first counts, as it does for the services; files and what is
    too long for a name are passed over."""
    whole = body((MODEL, b"a"), (MODEL, b"b"), (FILE, b"RIFF"), (OTHER, b"x" * 5000))
    assert form.fields(whole, KIND) == {"model": "a"}
    assert form.fields(form.renamed(whole, KIND, "c"), KIND) == {"model": "c"}
    odd = body((MODEL.replace("form-data", "form-data; filename=x"), b"a"))
    assert form.fields(odd, KIND) == {}


@pytest.mark.parametrize(
    ("whole", "kind"),
    [
        (body((MODEL, b"a")), "multipart/form-data"),
        (body((MODEL, b"a")), "multipart/form-data; boundary=other"),
        (body((MODEL, b"a"))[:-12], KIND),
        (b"", KIND),
    ],
)
def test_what_is_no_form_is_refused(whole: bytes, kind: str) -> None:
    """A form that is cut off, or lacks its boundary, is the client's fault and told so."""
    with pytest.raises(BadRequest, match="form"):
        form.fields(whole, kind)
    with pytest.raises(BadRequest, match="form"):
        form.renamed(whole, kind, "m")

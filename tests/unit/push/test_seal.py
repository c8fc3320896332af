"""What leaves for a push service can be read by one browser, and shows whose it is."""

from __future__ import annotations

import json

import http_ece
import pytest
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from stead.push.seal import decoded, encoded, pair, point, sealed, token

ENDPOINT = "https://push.example.net:8443/w/abc?x=1"


def read(body: bytes, key: ec.EllipticCurvePrivateKey, auth: bytes) -> str:
    told: bytes = http_ece.decrypt(body, private_key=key, auth_secret=auth, version="aes128gcm")
    return told.decode()


def test_the_example_of_the_standard_is_read() -> None:
    """RFC 8291, appendix A: what is used here to read agrees with the standard."""
    body = decoded(
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
    )
    scalar = int.from_bytes(decoded("q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"), "big")
    key = ec.derive_private_key(scalar, ec.SECP256R1())
    assert read(body, key, decoded("BTBZMqHH6r4Tts7J_aSIgg")) == (
        "When I grow up, I want to be a watermelon"
    )


def test_only_the_browser_reads_it() -> None:
    """The one with the key and the shared bytes reads it; another key, other bytes: nobody."""
    key, auth = ec.generate_private_key(ec.SECP256R1()), b"0123456789abcdef"
    text = "Darf ich? \N{SNOWMAN}" + " " * 600
    body = sealed(encoded(point(key.public_key())), encoded(auth), text)
    assert read(body, key, auth) == text
    assert text[:9].encode() not in body
    with pytest.raises((http_ece.ECEException, InvalidTag)):
        read(body, ec.generate_private_key(ec.SECP256R1()), auth)
    with pytest.raises((http_ece.ECEException, InvalidTag)):
        read(body, key, b"another 16 bytes")


def test_whose_it_is_is_signed() -> None:
    """The token names the push service's origin alone, ends within a day, and is signed with the
    key that the browser was given; the same secret makes the same key."""
    key = pair("secret")
    assert point(pair("secret").public_key()) == point(key.public_key())
    assert point(pair("other").public_key()) != point(key.public_key())
    said = token(key, ENDPOINT, "mailto:me@example.org", 1_800_000_000)
    given, public = said.removeprefix("vapid t=").split(", k=")
    assert decoded(public) == point(key.public_key())
    head, claims, signature = given.split(".")
    told = json.loads(decoded(claims))
    assert told["aud"] == "https://push.example.net:8443"
    assert 0 < told["exp"] - 1_800_000_000 <= 86_400
    assert told["sub"] == "mailto:me@example.org"
    raw = decoded(signature)
    one, two = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    der, how = encode_dss_signature(one, two), ec.ECDSA(hashes.SHA256())
    key.public_key().verify(der, f"{head}.{claims}".encode(), how)
    with pytest.raises(InvalidSignature):
        key.public_key().verify(der, f"{head}.x{claims}".encode(), how)


@pytest.mark.parametrize("wrong", ["", "AAAA", encoded(b"\x04" + b"\x01" * 64)])
def test_what_is_no_key_is_refused(wrong: str) -> None:
    """A point that is none on the curve is an error of one kind, not a crash."""
    with pytest.raises((ValueError, http_ece.ECEException)):
        sealed(wrong, encoded(b"0" * 16), "text")

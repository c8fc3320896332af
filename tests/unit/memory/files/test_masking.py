"""What should not be remembered is taken out before it is written, and nothing else is."""

from __future__ import annotations

import base64
import random
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stead.memory.files.masking import Masking, is_card, mask

#: Made up: none of them opens anything. Joined here, as scanners of repositories look for them too.
KEYS = [
    "sk-" + "proj-" + "aB3" * 12,
    "sk-" + "ant-" + "api03-" + "xY9_" * 12,
    "AKIA" + "ABCDEFGH23456789",
    "ghp_" + "a1B2" * 9,
    "github_pat_" + "a1B2c3_" * 8,
    "glpat-" + "a1B2c3D4e5F6g7H8i9J0",
    "xoxb-" + "123456789012-abcdefABCDEF",
    "AIza" + "a1B2c" * 7,
    "hf_" + "aBcDeF1234" * 4,
    "123456789:AA" + "a1B2c3D4e5F" * 3,
    "eyJ" + "hbGciOiJIUzI1NiJ9.eyJ" + "zdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmN",
    "SG." + "a1B2c3D4e5F6g7H8i9J0k1" + "." + "a" * 43,
    "AGE-SECRET-KEY-1" + "QPZRY9X8" * 7,
    "so_" + "a1B2c3D4" * 6,
]
CARDS = ["4111111111111111", "5555555555554444", "378282246310005", "6011111111111117",
         "3530111333300000", "30569309025904", "2223003122003222", "6759649826438453",
         "4222222222222"]  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
def test_keys(key: str) -> None:
    """The keys of services are known by their form, wherever they stand."""
    for text in (
        key,
        f"my key: {key}.",
        f'{{"key":"{key}"}}',
        f"({key})",
        f"x\n{key}\ny",
        f"a={key}",
    ):
        masked = mask(text)
        assert key[8:] not in masked and "[masked" in masked, text


@pytest.mark.parametrize("card", CARDS)
def test_card_numbers(card: str) -> None:
    """Numbers of cards are known by brand, length and check digit, in whatever groups; the last
    four digits tell the owner which card it was."""
    four = [card[at : at + 4] for at in range(0, len(card), 4)]
    amex = [card[:4], card[4:10], card[10:]]
    for text in (card, " ".join(four), "-".join(four), "\u00a0".join(four), " ".join(amex),
                 "\n".join(four), f"1 {card}", f"2026-11-21 {' '.join(four)} 123"):  # fmt: skip
        masked = mask(f"pay with {text}, please")
        assert card not in masked.replace(" ", "").replace("-", "")
        assert f"[masked: card number ending in {card[-4:]}]" in masked, text


def test_numbers_that_are_no_cards() -> None:
    """Wrong check digits, times, numbers of telephones and accounts, ids and hashes stay."""
    for text in ("4111111111111112", "1763766166000", "+49 4111 1111 1111 1111", "1234567812345670",
                 "DE89 3704 0044 0532 0130 00", "4111111111111111a", "2026-11-21 08:15:02.123456",
                 "0192f0c1-4111-4111-8111-411111111111", "192.168.1.1:8080",
                 "a4111111111111111", "3.14159265358979323846", "0000 0000 0000 0000",
                 "41111111111111111111111"):  # fmt: skip
        assert mask(text) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("my password is Hunter2!", "Hunter2"),
        ("Das Passwort lautet geheim123", "geheim123"),
        ("password: swordfish", "swordfish"),
        ("DB_PASSWORD=swordfish", "swordfish"),
        ("export DB_PASS=swordfish", "swordfish"),
        ('"password": "sword fish"', "sword f"),
        ("le mot de passe est Sésame44", "Sésame44"),
        ("la contraseña es abrete-1Sesamo", "abrete-1Sesamo"),
        ("the wifi password for guests is Blau_Wal7", "Blau_Wal7"),
        ("postgres://anna:s3cr3tpw@db:5432/x", "s3cr3tpw"),
        ("Authorization: Bearer abcdef1234567890abcdef", "abcdef1234567890abcdef"),
        ("API_KEY=0123456789abcdef0123", "0123456789abcdef0123"),
        ("my PIN is 4711", "4711"),
        ("CVV: 123", "123"),
        ("https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXX", "XXXXXXXX"),
    ],
)
def test_what_is_said_to_be_a_secret(text: str, value: str) -> None:
    """Passwords and codes that are said as such go; what stands around them stays."""
    masked = mask(f"Note: {text}, ok? The end.")
    assert value not in masked and masked.startswith("Note: ") and masked.endswith("The end.")


@pytest.mark.parametrize(
    "text",
    [
        "the password is wrong", "I changed my password yesterday", "tokens: 12+30, $0.0001",
        "a secret is a secret", "the token is expired", "pin the note to the board",
        "the API key is in the safe", "password=$DB_PASSWORD", "sk-learn and ghp", "basic things",
        "it took 120+30 tokens", "see https://example.org/a:b@c", "Das Passwort ist falsch.",
        "on page 4111, line 1111", "the passage is long: about 1234 words",
        "Der Schlüssel: im Topf", "of 50 tests pass: 1234", "la clave: paciencia",
    ],
)  # fmt: skip
def test_words_stay(text: str) -> None:
    """Talk about secrets is no secret."""
    assert mask(text) == text


def test_private_keys() -> None:
    """A private key goes with all its lines, also where its end is missing."""
    body = "\n".join("MIIEvQIBADANBgkqhkiG9w0BAQEFAASC" for _ in range(20))
    for kind in ("RSA PRIVATE KEY", "OPENSSH PRIVATE KEY", "PRIVATE KEY", "PGP PRIVATE KEY BLOCK"):
        begin, end = f"-----BEGIN {kind}-----", f"-----END {kind}-----"
        assert mask(f"a\n{begin}\n{body}\n{end}\nb") == "a\n[masked: private key]\nb"
        assert "MIIE" not in mask(f"a\n{begin}\n{body}\n")


def test_values_under_secrets(tmp_path: Path) -> None:
    """The values that are kept are hidden wherever they stand, also in base64; values that come
    later too; a folder that is not there is no reason not to write."""
    masking = Masking(tmp_path / "secrets")
    assert masking("correct horse battery") == "correct horse battery"
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "cloud.secret").write_text("correct horse battery\n")
    (tmp_path / "secrets" / "bin").write_bytes(b"\xff" * 20)
    (tmp_path / "secrets" / "short").write_text("abc")
    masking = Masking(tmp_path / "secrets")
    assert masking("it is correct horse battery, abc") == "it is [masked: secret cloud], abc"
    encoded = base64.b64encode(b"correct horse battery").decode()
    assert "[masked: secret cloud]" in masking(f"x {encoded}")


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_twice_is_once(text: str) -> None:
    """What is masked already stays as it is."""
    once = mask(text)
    assert mask(once) == once
    assert mask(once + " password: swordfish") == mask(mask(once + " password: swordfish"))


def test_long_texts_take_no_long_time() -> None:
    """No text makes the search run away: however it repeats itself."""
    rnd = random.Random(7)
    random_ = "".join(rnd.choices("abc 4:=\n_-", k=50_000))
    hard = ["a", " ", "4 ", "password ", "://", "-----BEGIN PRIVATE KEY-----", "eyJ", "token is ",
            "_", "pin ", "password:", "4111 1111 1111 ", random_]  # fmt: skip
    for piece in hard:
        text = piece * (50_000 // len(piece))
        begun = time.process_time()
        mask(text)
        assert time.process_time() - begun < 20, text[:20]


def test_check_digits() -> None:
    """Of the ten last digits that a number can have, one is right."""
    for card in CARDS:
        assert is_card(card)
        assert sum(is_card(card[:-1] + str(digit)) for digit in range(10)) == 1

"""What needs cryptography, in a process of its own that lives for one batch: ``python -m
stead.push.seal`` reads a JSON object on standard input and writes one on standard output.

::

    {"secret": TEXT, "sub": URI, "at": SECONDS, "letters": [{"endpoint", "p256dh", "auth", "text"}]}
    -> {"public": B64URL, "sealed": [{"body": B64URL, "authorization": TEXT} | {"wrong": TEXT}]}

A body is ``aes128gcm`` (RFC 8188) with the keys of RFC 8291, so that the push service cannot read
it; the authorization is that of RFC 8292 (VAPID). The house's key pair is made from its secret.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sys
from typing import Any
from urllib.parse import urlsplit

import http_ece
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

#: How many points P-256 has (NIST SP 800-186, 3.2.1.3); a private key is below that.
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
#: RFC 8292 allows a day; a clock may be wrong by some hours.
_GOOD_S = 12 * 3600


def encoded(raw: bytes) -> str:
    """base64url without padding, as all these standards have it."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4))


def pair(secret: str) -> ec.EllipticCurvePrivateKey:
    """The house's key pair: the same from the same secret."""
    digest = hashlib.sha512(b"stead web push\0" + secret.encode()).digest()
    return ec.derive_private_key(int.from_bytes(digest, "big") % (_ORDER - 1) + 1, ec.SECP256R1())


def point(key: ec.EllipticCurvePublicKey) -> bytes:
    """65 bytes: the uncompressed point."""
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def token(key: ec.EllipticCurvePrivateKey, endpoint: str, sub: str, at: int) -> str:
    """``Authorization`` for one push service: a JWT signed with ES256 (RFC 8292, 3)."""
    parts = urlsplit(endpoint)
    claims = {"aud": f"{parts.scheme}://{parts.netloc}", "exp": at + _GOOD_S, "sub": sub}
    said = ".".join(
        encoded(json.dumps(part, separators=(",", ":")).encode())
        for part in ({"typ": "JWT", "alg": "ES256"}, claims)
    )
    one, two = decode_dss_signature(key.sign(said.encode(), ec.ECDSA(hashes.SHA256())))
    signature = encoded(one.to_bytes(32, "big") + two.to_bytes(32, "big"))
    return f"vapid t={said}.{signature}, k={encoded(point(key.public_key()))}"


def sealed(p256dh: str, auth: str, text: str) -> bytes:
    """A text that only that browser can read. Raises ``ValueError`` for keys that are none."""
    body: bytes = http_ece.encrypt(
        text.encode(),
        salt=os.urandom(16),
        private_key=ec.generate_private_key(ec.SECP256R1()),
        dh=decoded(p256dh),
        auth_secret=decoded(auth),
        version="aes128gcm",
    )
    return body


def _one(key: ec.EllipticCurvePrivateKey, letter: dict[str, str], sub: str, at: int) -> Any:
    try:
        body = sealed(letter["p256dh"], letter["auth"], letter["text"])
    except (ValueError, http_ece.ECEException) as error:
        return {"wrong": f"its keys are no keys: {error}"}
    return {"body": encoded(body), "authorization": token(key, letter["endpoint"], sub, at)}


def main() -> None:
    asked = json.load(sys.stdin)
    key = pair(asked["secret"])
    done = [_one(key, letter, asked["sub"], asked["at"]) for letter in asked["letters"]]
    json.dump({"public": encoded(point(key.public_key())), "sealed": done}, sys.stdout)


if __name__ == "__main__":
    main()

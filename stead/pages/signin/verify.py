"""Checks what an authenticator answered. Run in a process of its own, for one answer.

What it needs (``webauthn`` and ``cryptography``) takes 27 MB and half a second of work, for what is
done a few times a month; and what a stranger sent is taken apart (CBOR, X.509) where there is
nothing else. Order and verdict are JSON, on stdin and stdout.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from webauthn import (
    base64url_to_bytes,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import bytes_to_base64url
from webauthn.helpers.exceptions import WebAuthnException


def verdict(order: dict[str, Any]) -> dict[str, Any]:
    """``credential``, ``public_key`` and ``count`` of a new passkey; ``count`` of one that was
    used; or ``wrong``: why it is not good, in words."""
    expected = {
        "credential": order["credential"],
        "expected_challenge": base64url_to_bytes(order["challenge"]),
        "expected_rp_id": order["rp"],
        "expected_origin": order["origins"],
        "require_user_verification": True,
    }
    try:
        if "public_key" not in order:
            made = verify_registration_response(**expected)
            return {
                "credential": bytes_to_base64url(made.credential_id),
                "public_key": bytes_to_base64url(made.credential_public_key),
                "count": made.sign_count,
            }
        used = verify_authentication_response(
            **expected,
            credential_public_key=base64url_to_bytes(order["public_key"]),
            credential_current_sign_count=order["count"],
        )
        return {"count": used.new_sign_count}
    except WebAuthnException as error:
        return {"wrong": str(error)}
    except Exception as error:  # noqa: BLE001  a stranger's bytes; the edge of the process
        return {"wrong": f"it cannot be read ({type(error).__name__})"}


def main() -> None:
    order = json.loads(sys.stdin.buffer.read())
    sys.stdout.write(json.dumps(verdict(order)))


if __name__ == "__main__":
    main()

"""Keeps in the lake which key its pseudonyms are made with: under another one, each user would become two, unseen.

What is kept is the key's fingerprint, in one file, created exclusively by the first run that enriches: runs at once
agree on one key. A lake from before there was such a file takes the first key that it is used with.
"""

import json
from pathlib import Path

from usage_analytics.enrichment.pseudonyms import key_fingerprint
from usage_analytics.errors import UserError
from usage_analytics.lake.files import create_exclusive

KEPT = "pseudonym_key.json"  # in the lake's root: a user is the same one in all topics
FORMAT = 1


def keep_key(lake: Path, key: bytes, whence: str) -> None:
    """Have the lake remember the key, if it has none yet; `UserError` as `refuse_another_key`."""
    path = lake / KEPT
    if not path.exists():
        create_exclusive(path, json.dumps({"format": FORMAT, "key_fingerprint": key_fingerprint(key)}).encode())
    refuse_another_key(lake, key, whence)


def refuse_another_key(lake: Path, key: bytes, whence: str) -> None:
    """`UserError` if the lake's pseudonyms are made with another key than this, which comes from ``whence``."""
    path = lake / KEPT
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    if _fingerprint(path, content) != key_fingerprint(key):
        raise UserError(
            f"{whence} is another key than the one that this lake's pseudonyms are made with ({path} keeps its "
            "fingerprint): every user would become another one; put the key back, or, if it is to change for good, "
            f"delete {path} and materialize usage_events and loaded_events of all windows, then the marts, anew"
        )


def _fingerprint(path: Path, content: bytes) -> str:
    try:
        fields = json.loads(content)
        if fields["format"] != FORMAT:
            raise UserError(f"{path}: written by another version of the platform")
        return str(fields["key_fingerprint"])
    except (ValueError, TypeError, KeyError):
        raise UserError(
            f"{path}, which tells whether the pseudonym key is still the same, is damaged: restore it from a copy of "
            "the lake, or delete it, if you are sure of the key: the next run keeps the key that it is given"
        ) from None

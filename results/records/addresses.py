"""Addresses of stores, servers and databases: what in them is secret, and how they are shown without it."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import unquote, unquote_plus, urlsplit

SECRET = ("password", "passwd", "pwd", "token", "secret", "credential")  # parts of the names of keys in a query


def secrets(address: str) -> Iterator[tuple[str, str, str]]:
    """(before, secret, after) of each secret in an address, as they stand in it one after the other.

    A secret is the password before the host, and the value of a key in the query whose name says so. An address may be
    a chain, such as simplecache::sftp://host/folder. Raises ValueError where the address cannot be read.
    """
    for link in address.split("::"):
        parts = urlsplit(link)
        if parts.password:
            yield ":", parts.password, "@"
        for pair in parts.query.split("&"):
            key, equals, value = pair.partition("=")
            if value and any(word in unquote_plus(key).lower() for word in SECRET):
                yield key + equals, value, ""


def holds_secret(address: str) -> bool:
    """Whether an address holds a password, or one that cannot be ruled out because the address cannot be read."""
    try:
        return any(secrets(address))
    except ValueError:
        return "@" in address


def refusal(store: str) -> str:
    """What is said of the address of a store that holds a password."""
    return (
        f"store {public(store, store)}: the address holds a password, which pages and MLflow would show; give it in "
        "a variable, as FSSPEC_SFTP_PASSWORD, or in a file of ~/.config/fsspec"
    )


def public(text: str, address: str) -> str:
    """A text without the secrets of an address, so that it can be shown. Libraries may have decoded them."""
    try:
        found = list(secrets(address))
    except ValueError:
        return text.replace(address, "***") if "@" in address else text
    for before, secret, after in found:
        for written in sorted({secret, unquote(secret), unquote_plus(secret)}, key=len, reverse=True):
            text = text.replace(f"{before}{written}{after}", f"{before}***{after}")
            if len(written) >= 4:  # a shorter one would make a riddle of every sentence
                text = text.replace(written, "***")
    return text

"""File systems that are reached over a network. Whatever their libraries raise becomes one line of ours."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from mtlbench.results.records.addresses import public


class StoreError(RuntimeError):
    """The store cannot be used; the message says which and why."""


class Away(StoreError):
    """A remote store does not answer, or not as it should. It may do so a moment later."""


class Remote:
    """A file system of fsspec, whose errors are StoreErrors that name the store. FileNotFoundError stays what it is.

    It has the methods and the attributes of the file system.
    """

    def __init__(self, fs: Any, url: str) -> None:
        self._fs, self._url = fs, url

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # also while this object is copied, and has no file system yet
            raise AttributeError(name)
        found = getattr(self._fs, name)
        return self._naming(found) if callable(found) else found

    def exists(self, path: str) -> bool:
        """fsspec's own method says False also where the store does not answer."""
        try:
            self.info(path)
        except FileNotFoundError:
            return False
        return True

    def isdir(self, path: str) -> bool:
        try:
            return bool(self.info(path)["type"] == "directory")
        except FileNotFoundError:
            return False

    def find(self, path: str, **how: Any) -> Any:
        """fsspec's own method may find nothing where the store does not answer, and says nothing."""
        if not self.exists(path):
            return {} if how.get("detail") else []
        return self._naming(self._fs.find)(path, **how)

    def cat(self, paths: list[str], on_error: str = "return") -> Any:
        """The contents of files by path, and FileNotFoundError for those that are not there. Raises StoreError."""
        found = self._naming(self._fs.cat)(paths, on_error=on_error)
        for content in found.values():
            if isinstance(content, Exception) and not isinstance(content, FileNotFoundError):
                raise refused(self._url, content) from content
        return found

    def _naming(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def named(*args: Any, **kwargs: Any) -> Any:
            try:
                return method(*args, **kwargs)
            except FileNotFoundError:
                raise
            except Exception as error:  # each library has classes of its own
                raise refused(self._url, error) from error

        return named


def refused(url: str, error: Exception) -> StoreError:
    """What a user is told of an error of a library that reaches a store."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    why = ": ".join([type(error).__name__, *lines[:1]])
    problem = f"store {url} cannot be used ({why[:300]}); check "
    if isinstance(error, PermissionError):
        return StoreError(public(problem + "the credentials, and what they permit", url))
    return Away(public(problem + "its address, the network and the credentials", url))

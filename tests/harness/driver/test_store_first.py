"""A store that cannot be used is the first thing that a run refuses, and it is named as the store."""

import os

import pytest

from cells import small_matrix
from mtlbench.harness.store.store import StoreError


def test_a_store_that_may_not_be_written_to_is_named_before_the_database_beside_it(go, tmp_path, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "makedirs", refused)
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    with pytest.raises(StoreError, match=rf"^cannot write into the store {tmp_path}/s: .*; give another --store$"):
        go(small_matrix())

import shutil

import pytest

from mtlbench.harness.store.store import Store
from mtlbench.harness.tracking import connection
from mtlbench.harness.tracking.projection import Projection
from tracked import MANIFEST, MULTI, SINGLE


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "store")
    for each in (SINGLE, MULTI):
        store.put_cell(each)
    return store


@pytest.fixture
def uri(tmp_path, store, empty_database):
    shutil.copy(empty_database, store.path("mlflow.db"))
    return connection.default_uri(store.url)


@pytest.fixture
def projection(uri, store):
    return Projection(uri, store.url, MANIFEST)

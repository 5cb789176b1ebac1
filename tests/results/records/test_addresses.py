"""No password of an address is shown, and no address of a store has one."""

import pytest

from command import invoke
from mtlbench.results.records.addresses import holds_secret, public
from mtlbench.results.records.reading import open_store
from mtlbench.results.records.remote import StoreError

WITH = {
    "sftp://ada:lovelace@host/runs": "sftp://ada:***@host/runs",
    "simplecache::sftp://ada:lovelace@host/runs": "simplecache::sftp://ada:***@host/runs",
    "postgresql+psycopg://ada:lovelace@db:5432/mlflow?connect_timeout=3": (
        "postgresql+psycopg://ada:***@db:5432/mlflow?connect_timeout=3"
    ),
    "https://:lovelace@host/": "https://:***@host/",
    **{
        f"postgresql://db/mlflow?a=b&{key}=lovelace&c=d": f"postgresql://db/mlflow?a=b&{key}=***&c=d"
        for key in ("password", "sslpassword", "PassWd", "pwd", "token", "access_token", "client_secret", "pass%77ord")
    },
}
WITHOUT = [
    "runs",
    "/abs/runs",
    "s3://bucket/runs",
    "sftp://ada@host/runs",
    "memory://a",
    "sqlite:////a/mlflow.db",
    "a@b",
]


@pytest.mark.parametrize("address", WITH)
def test_a_password_is_found_and_hidden_and_the_rest_is_shown(address):
    assert holds_secret(address)
    assert public(address, address) == WITH[address]
    assert "lovelace" not in public(f"cannot reach {address}: 'lovelace' was refused", address)


@pytest.mark.parametrize("address", WITHOUT)
def test_an_address_without_one_is_shown_as_it_is(address):
    assert not holds_secret(address)
    assert public(f"cannot reach {address}", address) == f"cannot reach {address}"


def test_what_a_library_has_decoded_is_hidden_too():
    assert "p@ss word" not in public("refused p@ss word", "sftp://ada:p%40ss%20word@host/")
    assert public("a: b", "sftp://ada:a@host/") == "a: b"  # too short to be taken out of a sentence
    assert public("sftp://ada:a@host/", "sftp://ada:a@host/") == "sftp://ada:***@host/"


def test_an_address_that_cannot_be_read_is_hidden_where_it_may_hold_one():
    assert holds_secret("sftp://ada:lovelace@[::1/runs")
    assert "lovelace" not in public("no sftp://ada:lovelace@[::1/runs", "sftp://ada:lovelace@[::1/runs")


@pytest.mark.parametrize("address", [address for address in WITH if not address.startswith("postgresql")])
@pytest.mark.parametrize("command", [["status"], ["report"], ["track", "rooms"], ["run", "smoke"], ["gc"]])
def test_a_store_with_a_password_is_refused_in_one_line_that_names_the_way_out(address, command):
    done = invoke(*command, "--store", address)
    assert done.exit_code == 2
    assert done.output == (
        f"mtlbench: --store {WITH[address]}: the address holds a password, which pages and MLflow would show; give it "
        "in a variable, as FSSPEC_SFTP_PASSWORD, or in a file of ~/.config/fsspec\n"
    )


def test_who_opens_a_store_without_the_command_line_is_refused_too():
    with pytest.raises(StoreError, match="the address holds a password") as raised:
        open_store("sftp://ada:lovelace@host/runs")
    assert "lovelace" not in str(raised.value)

"""The interface over which the processes of a cell find each other, and what is told to Gloo and NCCL."""

import socket

import psutil
import pytest

from mtlbench.harness.cluster.group import Group
from mtlbench.harness.cluster.nodes import interface
from mtlbench.harness.cluster.nodes.interface import VARIABLES, interface_to, use_interface_to


def test_this_machine_is_reached_over_the_interface_with_the_address():
    assert interface_to("127.0.0.1") in ("lo", "lo0")
    for name, addresses in psutil.net_if_addrs().items():
        for address in addresses:
            if address.family == socket.AF_INET and psutil.net_if_stats()[name].isup:
                assert interface_to(address.address) == name


def test_an_address_of_no_interface_is_an_error_that_names_both(monkeypatch):
    monkeypatch.setattr(interface.psutil, "net_if_addrs", dict)
    with pytest.raises(OSError, match=r"no network interface has the address 127\.0\.0\.1, from which 127\.0\.0\.1 is"):
        interface_to("127.0.0.1")


def test_gloo_and_nccl_are_told_unless_somebody_has_chosen(monkeypatch):
    monkeypatch.setenv("NCCL_SOCKET_IFNAME", "ib0")
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "x")
    monkeypatch.delenv("GLOO_SOCKET_IFNAME")
    use_interface_to("127.0.0.1")
    assert [interface.os.environ[name] for name in VARIABLES] == [interface_to("127.0.0.1"), "ib0"]


def test_a_group_of_processes_is_started_over_the_interface(monkeypatch):
    asked = []

    class Workers:
        def execute(self, function):
            asked.append(function.__name__)

    group = Group(backend="gloo")
    backend = group.backend_cls()
    monkeypatch.setattr(type(backend).__mro__[1], "on_start", lambda self, workers, config: asked.append("joined"))
    backend.on_start(Workers(), group)
    assert asked == ["_use_interface", "joined"]

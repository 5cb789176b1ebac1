"""The network interface over which the processes of a cell find each other.

Gloo and NCCL look up the name of their host. Many systems map it to 127.0.0.1 or 127.0.1.1, where no other node
answers. So the interface is the one that leads to the head of the cluster.
"""

from __future__ import annotations

import os
import socket

import psutil

VARIABLES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")


def interface_to(host: str) -> str:
    """The name of the interface over which this machine reaches a host. Raises OSError where there is no route."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, 9))  # nothing is sent: the route alone says which address this machine has there
        own = str(probe.getsockname()[0])
    for name, addresses in psutil.net_if_addrs().items():
        if own in (address.address.split("%")[0] for address in addresses):
            return name
    raise OSError(f"no network interface has the address {own}, from which {host} is reached")


def use_interface_to(host: str) -> None:
    """Tell Gloo and NCCL of this process to use the interface to a host, where nobody has chosen one."""
    for variable in VARIABLES:
        if variable not in os.environ:
            os.environ[variable] = interface_to(host)

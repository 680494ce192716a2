"""Ways to speak to somebody outside."""

import os
import socket

from table import Contained, attack

SECONDS = 2.0
GREETING = b"from inside"


def _answered(made):
    made.settimeout(SECONDS)
    made.send(GREETING)
    return made.recv(100).decode()


@attack
def tcp(place):
    with socket.create_connection(("127.0.0.1", place.plan["tcp"]), SECONDS) as made:
        return _answered(made)


@attack
def udp(place):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.connect(("127.0.0.1", place.plan["udp"]))
        return _answered(made)


@attack
def unix_socket(place):
    with socket.socket(socket.AF_UNIX) as made:
        made.connect(place.plan["unix"])
        return _answered(made)


@attack
def abstract_socket(place):
    """A name without a file: only a network namespace keeps it away."""
    with socket.socket(socket.AF_UNIX) as made:
        made.connect("\0" + place.plan["abstract"])
        return _answered(made)


@attack
def resolve(place):
    return socket.getaddrinfo("localhost" if place.plan["canary"] else "www.example.org", 80)


@attack
def bind(place):
    """Be found by those outside, who try all the time."""
    with socket.create_server(("127.0.0.1", place.plan["bind"])) as server:
        server.settimeout(SECONDS)
        with server.accept()[0] as made:
            return made.recv(100).decode()


@attack
def packet_socket(place):
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW):
        return "a raw socket"


@attack
def netlink(place):
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0):
        return "a netlink socket"


@attack
def vsock(place):
    """The way from a virtual machine to its host, which no network namespace closes."""
    with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM):
        return "a socket to the host of this virtual machine"


@attack
def socket_pair_to_elsewhere(place):
    """A pair of sockets is allowed; one of its ends must not be connected to anything else."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        ours.sendto(GREETING, "\0" + place.plan["abstract_datagram"])
        return "a datagram was sent"


@attack
def hostname(place):
    if os.uname().nodename == place.plan["hostname"]:
        return f"this is {place.plan['hostname']}"
    raise Contained("a machine without our name")

"""The socket of a server."""

from __future__ import annotations

import ctypes
import errno
import ipaddress
import os
import socket
import sys

from winnow.errors import OptionError
from winnow.files import reason

HOST = "127.0.0.1"
PORTS = 20  # ports that are tried for a page, from the one asked for


def listen_page(port: int) -> socket.socket:
    """Return a socket for a page on 127.0.0.1 at the port or the next free one, for 0 at any; `OptionError` when there is none."""
    return listen(HOST, port, PORTS)


def listen(host: str, port: int, tries: int = 1) -> socket.socket:
    """Return a socket on a host at the port or, of so many `tries`, the next free one, for 0 at any.

    `OptionError` when there is none, or this machine has no such address.
    """
    try:
        family, address = _address_of(host)
    except (OSError, UnicodeError) as error:
        raise OptionError(
            f"--host {host} is no address of this machine ({error}).", "Give one of its addresses, or leave it out."
        ) from None
    for number in range(port, min(port + tries, 65536)) if port else (0,):
        # Named TCP, or asyncio leaves Nagle's algorithm on, and every answer waits 40 ms for an acknowledgement.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        if os.name == "posix":  # else a restarted server would wait for its predecessor's connections to expire
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((address, number))
            listening.listen(128)
            return listening
        except OSError as error:
            listening.close()
            if error.errno == errno.EADDRNOTAVAIL:
                raise OptionError(
                    f"--host {host} is no address of this machine ({reason(error)}).",
                    "Give one of its addresses, or leave it out.",
                ) from None
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
    taken = f"No port from {port} on is free." if tries > 1 else f"Port {port} is taken, or not this user's to open."
    raise OptionError(taken, "Choose another with --port, or 0 for any free one.")


class _Filter(ctypes.Structure):
    """A `struct sock_fprog` of linux/filter.h: the number of instructions of a filter, and where they are."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


SO_ATTACH_FILTER = 26  # of asm-generic/socket.h, which Python does not name
DROP = b"\x06\0\0\0\0\0\0\0"  # BPF_RET | BPF_K of 0 bytes


def turn_away(listening: socket.socket) -> None:
    """Take in no more connections on a socket, but keep those that wait to be accepted; their clients try again in a second.

    Between the last that is accepted and the end of the socket another could come, and would be broken off. On other systems than
    Linux it may.
    """
    if sys.platform != "linux":
        return
    instructions = ctypes.create_string_buffer(DROP, len(DROP))
    given = _Filter(1, ctypes.addressof(instructions))
    listening.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, bytes(given))


def _address_of(host: str) -> tuple[int, str]:
    """Return the family and the address of a host; only a name is looked up, so that loopback asks nobody."""
    try:
        known = ipaddress.ip_address(host)
        return (socket.AF_INET if known.version == 4 else socket.AF_INET6), str(known)
    except ValueError:
        family, _, _, _, found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return family, str(found[0])

"""The user of a TCP connection from this machine: from ``/proc/net``, so on Linux alone."""

from __future__ import annotations

import ipaddress
import os
import sys
from pathlib import Path

ROOT = 0
_TABLES = Path("/proc/net")
_OVERFLOW = Path("/proc/sys/kernel/overflowuid")
_TRIES = 3
"""A table that changes while it is read may lack an entry."""
_ESTABLISHED = b"01"

Address = tuple[str, int]
Ip = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_same_user(ours: Address, theirs: Address) -> bool:
    """Whether the connection from `theirs` to `ours` is of this process's user, or of root."""
    own = os.geteuid()
    return own != _nobody() and user(ours, theirs) in (own, ROOT)


def user(ours: Address, theirs: Address) -> int | None:
    """The user id of the process that connected from `theirs` to `ours`; None: unknown."""
    for _ in range(_TRIES):
        for table, local_hex, remote_hex in _entries(ours, theirs):
            found = _find(_TABLES / table, local_hex, remote_hex)
            if found is not None:
                return found
    return None


def _find(table: Path, local_hex: bytes, remote_hex: bytes) -> int | None:
    try:
        with table.open("rb") as lines:
            for line in lines:
                if remote_hex not in line:
                    continue
                _, local, remote, state, _, _, _, owner, _, inode, *_ = line.split()
                # NOTE: a connection that its process has closed has inode 0 and user 0: not root's.
                if (
                    (local, remote) == (remote_hex, local_hex)
                    and state == _ESTABLISHED
                    and inode != b"0"
                ):
                    return int(owner)
    except OSError:  # another system, or one that hides the table
        return None
    return None


def _entries(ours: Address, theirs: Address) -> list[tuple[str, bytes, bytes]]:
    """The possible entries of the other end: the table, and both addresses as written in it."""
    try:
        local_hex, remote_hex = ipaddress.ip_address(ours[0]), ipaddress.ip_address(theirs[0])
    except ValueError:
        return []
    entries: list[tuple[str, Ip, Ip]] = []
    one, other = _short(local_hex), _short(remote_hex)
    if one.version == other.version == 4:
        entries.append(("tcp", one, other))
        # An IPv6 socket that also takes IPv4 lists such addresses in the other table.
        local_hex, remote_hex = (
            ipaddress.IPv6Address(f"::ffff:{one}"),
            ipaddress.IPv6Address(f"::ffff:{other}"),
        )
    entries.append(("tcp6", local_hex, remote_hex))
    return [
        (table, _written(ip.packed, ours[1]), _written(peer.packed, theirs[1]))
        for table, ip, peer in entries
    ]


def _short(address: Ip) -> Ip:
    return (isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped) or address


def _written(address: bytes, port: int) -> bytes:
    words = (address[start : start + 4] for start in range(0, len(address), 4))
    return (
        "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words) + f":{port:04X}"
    ).encode()


def _nobody() -> int | None:
    """The user id that the system shows for all users unknown to a user namespace."""
    try:
        return int(_OVERFLOW.read_text())
    except (OSError, ValueError):
        return None

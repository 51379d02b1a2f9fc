"""What a server takes from its clients, and how it works."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

HELD = 16  # largest requests that all bodies in memory together may hold


@dataclass(frozen=True)
class Limits:
    """Limits of a server.

    Largest body of a request (`most_bytes`) and picture (`most_pixels`, in million); `seconds` for which a request may be sent, and
    then worked on; requests under way at once (`queue`); pictures that the network sees at once (`batch`), and seconds that one waits
    for others (`wait`) while these are under way; `threads` of the network.
    """

    most_bytes: int = 32_000_000
    most_pixels: float = 50.0
    seconds: float = 30.0
    queue: int = 128
    batch: int = 16
    wait: float = 0.002
    threads: int = 1

    @property
    def held_bytes(self) -> int:
        """Return how many bytes all requests together may hold."""
        return HELD * self.most_bytes

    def as_json(self) -> dict[str, Any]:
        """Return the limits for another process."""
        return asdict(self)

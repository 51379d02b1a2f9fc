"""What takes a while to make for the page, and is made beside it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from winnow.errors import WinnowError

Made = TypeVar("Made")


class Later(Generic[Made]):
    """Something made once, in a thread of its own, when it is first asked for."""

    def __init__(self, make: Callable[[], Made]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._begun = False
        self.made: Made | None = None
        self.failure = ""

    def get(self) -> Made | None:
        """Return it, or None while it is being made; see `failure` for why it could not be."""
        with self._lock:
            if not self._begun:
                self._begun = True
                threading.Thread(target=self._run, name="later", daemon=True).start()
        return self.made

    def _run(self) -> None:
        try:
            self.made = self._make()
        except WinnowError as error:
            self.failure = f"{error.message} {error.remedy}"
        except Exception as error:  # the page would wait for good
            self.failure = f"It cannot be worked out ({error})."
            raise

"""Serve an exported file over HTTP, or a run, of which a file is exported first."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from winnow.deploy.serve.limits import Limits
from winnow.detect.drift import BLOCK
from winnow.errors import OptionError
from winnow.run.folder import RunFolder
from winnow.scale.local import cores

TOKEN = "WINNOW_TOKEN"
SHORTEST = 16


def serve(
    file: Path | None,
    run: RunFolder | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str = "",
    name: str = "",
    workers: int = 1,
    limits: Limits | None = None,
    object_detector: str = "",
    drift_alarm: float | None = None,
    drift_block: float = BLOCK,
    tell: Callable[[str], None] = print,
) -> None:
    """Serve a file that `winnow export` wrote until Ctrl-C or SIGTERM, by so many `workers`; of a run its file is written first.

    Other machines reach it where `host` is an address of this one; a token is needed then, by default that in the environment
    variable WINNOW_TOKEN. `limits.threads` 0 leaves a core for all but the network. With a `drift_alarm` it
    is told when the threshold does not hold any more, with that chance of ever doing so wrongly; one picture counts of each
    `drift_block` seconds. Raises what `winnow.steps.export` and
    `Deployed.open` raise, and `OptionError` where nothing can be served there.
    """
    from winnow.deploy.drift import check_drift
    from winnow.deploy.serve.server import Wanted, address_of, say
    from winnow.deploy.serve.server import run as serve_alone
    from winnow.deploy.serve.workers import run_workers
    from winnow.web.listen import listen

    token = token or os.environ.get(TOKEN, "")
    _check(host, token)
    limits = limits or Limits()
    name = _checked_name(name or (file.stem if file is not None else run.path.resolve().name if run else ""))
    limits = replace(limits, threads=limits.threads or max(1, cores(0) // workers - 1))
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(contextlib.closing(listen(host, port)))
        listening.set_inheritable(workers > 1)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="winnow-serve-")))
        if file is None:
            assert run is not None
            file = _exported(run, folder)
        wanted = Wanted(file, name, token, limits, folder, object_detector, drift_alarm, drift_block, workers)
        current = wanted.current(say)  # before anybody is told an address: a damaged file is refused now
        if drift_alarm is not None:
            check_drift(current.served.model, drift_alarm, drift_block)

        def said() -> None:
            tell(f"Serving {wanted.name} on {address_of(listening)} (what can be asked: {address_of(listening)}/docs)")

        if workers > 1:
            del current
            run_workers(wanted, listening, tell=said)
        else:
            said()
            serve_alone(wanted, current, listening)
    tell("Stopped; what was accepted is answered.")


def _check(host: str, token: str) -> None:
    """Raise `OptionError` for a token that guards nothing, and for another host than this machine's own without one."""
    if token and (len(token) < SHORTEST or not token.isascii() or not token.isprintable() or " " in token):
        raise OptionError(
            f"The token must be at least {SHORTEST} printable characters, without spaces.",
            "Make one: python -c 'import secrets; print(secrets.token_urlsafe())'",
        )
    if not token and not _is_loopback(host):
        raise OptionError(
            f"--host {host} lets other machines ask, and there is no token.",
            f"Give one that they must send: set {TOKEN}, or --token TOKEN; or leave --host out.",
        )


def _checked_name(name: str) -> str:
    """Return a model's name; `OptionError` for one that is no part of an address."""
    if not name or not name.isprintable() or set(name) & set("/{}?#%"):
        raise OptionError(f"{name!r} cannot be the model's name in addresses.", "Give another: --name part")
    return name


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _exported(run: RunFolder, folder: Path) -> Path:
    """Return a file of what a run has learnt, checked against the run, as `winnow export` writes it."""
    from winnow.steps.export import export

    return Path(export(run, folder / "model.onnx").file)

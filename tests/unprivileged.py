"""What a process may do that permissions hold for, also where the tests run as root: a fork of this one that has given up more."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import tempfile
import traceback
from collections.abc import Callable

from small_runs import command


def unprivileged_command(*words: object) -> subprocess.CompletedProcess[str]:
    """Run the command `winnow` in a fork of this process that permissions hold for."""
    return unprivileged(lambda: command(*words))


def unprivileged(act: Callable[[], int]) -> subprocess.CompletedProcess[str]:
    """Do something in a fork of this process that permissions hold for; return its status, what it returned, and what it printed."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)  # not that of the time limit of tests
            signal.alarm(120)
            status = 1
            try:
                keep_to_permissions()
                with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                    status = act()
            except BaseException:  # the child ends here, whatever it was: the test shows what it printed
                traceback.print_exc(file=err)
            finally:
                out.flush()
                err.flush()
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said = []
        for stream in (out, err):
            stream.seek(0)
            said.append(stream.read())
    return subprocess.CompletedProcess([], status, *said)


def keep_to_permissions() -> None:
    """Give up, for good, what lets a superuser read and write any file (CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH)."""
    version_3 = (ctypes.c_uint32 * 2)(0x20080522, 0)
    held = (ctypes.c_uint32 * 6)()  # effective, permitted and inheritable, twice
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.capget(version_3, held) == 0
    for kind in range(3):
        held[kind] &= ~(1 << 1 | 1 << 2)
    assert libc.capset(version_3, held) == 0

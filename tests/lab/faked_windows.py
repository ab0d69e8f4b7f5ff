"""Runs a program in this machine's Python as far as it can be made to look like Windows' one.

    python faked_windows.py PROGRAM [ARGUMENT...]

os.name and sys.platform say Windows; what only POSIX has is gone from os, signal and the modules that can be imported.
What stays Linux: paths, the console, sockets, the standard library's own insides (loaded before the disguise), and
psutil, which is a stand-in that knows no service and no process. So this finds code that would not even start on
Windows, and code that leans on a POSIX call; it does not show that a check finds anything there.
"""

from __future__ import annotations

import importlib
import os
import runpy
import signal
import subprocess
import sys
import types

# The standard library chooses its own side when it is imported, so what the checks use of it is loaded first.
STANDARD_LIBRARY = (
    "ctypes.util", "html.parser", "http.client", "http.cookies", "json", "logging.handlers", "selectors", "shlex", "socket",
    "ssl", "tempfile", "urllib.request", "xml.parsers.expat", "zipfile",
)  # fmt: skip
POSIX_MODULES = (
    "_posixshmem", "_posixsubprocess", "crypt", "fcntl", "grp", "nis", "posix", "pty", "pwd", "readline", "resource",
    "spwd", "syslog", "termios", "tty",
)  # fmt: skip
POSIX_OS = """
chown chroot confstr ctermid fchdir fchmod fchown fdatasync fork forkpty fpathconf fstatvfs getegid geteuid getgid
getgrouplist getgroups getloadavg getpgid getpgrp getpriority getresgid getresuid getsid getuid initgroups killpg lchown
lockf major makedev minor mkfifo mknod nice openpty pathconf pipe2 posix_fadvise posix_fallocate posix_spawn posix_spawnp
pread preadv pwrite pwritev readv sched_getaffinity sched_yield sendfile setegid seteuid setgid setgroups setpgid
setpriority setregid setresgid setresuid setreuid setsid setuid statvfs sync sysconf tcgetpgrp tcsetpgrp ttyname uname
wait wait3 wait4 waitid writev O_ACCMODE O_ASYNC O_CLOEXEC O_DIRECT O_DIRECTORY O_DSYNC O_LARGEFILE O_NDELAY O_NOATIME
O_NOCTTY O_NOFOLLOW O_NONBLOCK O_PATH O_RSYNC O_SYNC O_TMPFILE
"""
POSIX_SIGNAL = """
SIGALRM SIGBUS SIGCHLD SIGCONT SIGHUP SIGIO SIGKILL SIGPIPE SIGPROF SIGQUIT SIGSTOP SIGTSTP SIGTTIN SIGTTOU SIGURG SIGUSR1
SIGUSR2 SIGVTALRM SIGWINCH alarm getitimer setitimer pause pthread_kill pthread_sigmask sigpending sigwait sigtimedwait
siginterrupt ITIMER_PROF ITIMER_REAL ITIMER_VIRTUAL
"""
# os.waitpid and os.WNOHANG stay: this Python's own subprocess module calls them.


class NoSuchProcess(Exception):
    """psutil's exception of the same name."""


def psutil_of_windows() -> types.ModuleType:
    """psutil on a Windows machine without any service or process of interest."""
    module = types.ModuleType("psutil")

    def win_service_get(name: str) -> object:
        raise NoSuchProcess(f"service {name!r} does not exist")

    module.__dict__.update(
        win_service_get=win_service_get,
        process_iter=lambda *_, **__: iter(()),
        Error=Exception,
        NoSuchProcess=NoSuchProcess,
        AccessDenied=type("AccessDenied", (Exception,), {}),
        ZombieProcess=type("ZombieProcess", (Exception,), {}),
    )
    return module


def kill_as_windows_does(child: subprocess.Popen[bytes]) -> None:
    """TerminateProcess: the process itself ends, its children do not."""
    os.kill(child.pid, 9)


def disguise() -> None:
    """From here on this process takes itself for Windows."""
    for name in STANDARD_LIBRARY:
        importlib.import_module(name)
    for name in POSIX_MODULES:
        sys.modules[name] = None  # type: ignore[assignment]
    for module, names in ((os, POSIX_OS), (signal, POSIX_SIGNAL)):
        for name in names.split():
            if hasattr(module, name):
                delattr(module, name)
    subprocess.Popen.kill = kill_as_windows_does  # type: ignore[method-assign,assignment]
    os.name, sys.platform = "nt", "win32"
    sys.modules["psutil"] = psutil_of_windows()
    sys.modules["msvcrt"] = types.ModuleType("msvcrt")  # nagiosplugin imports it on Windows


if __name__ == "__main__":
    del sys.argv[0]
    sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
    disguise()
    runpy.run_path(sys.argv[0], run_name="__main__")

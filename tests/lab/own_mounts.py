"""Programs that see other files than the rest of the machine: a mount namespace of their own (unshare(1))."""

from __future__ import annotations

# A machine whose / is no mount point (entered by chroot alone) cannot make it private, and unshare would refuse to begin.
_PRIVATE = "mount --make-rprivate / 2>/dev/null || :\n"


def own_mounts(script: str, *namespaces: str) -> list[str]:
    """The beginning of a command line that runs this script of sh in a mount namespace of its own; $0 and the script's
    arguments follow. `namespaces` are options of unshare for others. Needs root or `--map-root-user`."""
    return ["unshare", *namespaces, "--mount", "--propagation", "unchanged", "sh", "-c", _PRIVATE + script]

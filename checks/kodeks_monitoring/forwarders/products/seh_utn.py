"""SEH UTN dongle servers: `utnm -c "state ADDRESS PORT"` answers by its exit code (vendor's manual)."""

from ...contract.verdict import CRITICAL, OK, UNKNOWN, WARNING
from ..listing import Finding
from ..product import Product

_OFF = (CRITICAL, "the connection to the dongle server fails: is it on, and reachable from here?")
_FAILED = (UNKNOWN, "plugging the key in or out has failed (older manual): judge that by --utn-code")
_KEY = {
    0: (OK, "the dongle server answers for the key"),
    1: (WARNING, "the key is being plugged in (older manual)"),
    5: (CRITICAL, "the key was removed without being plugged out (older manual)"),
    20: _FAILED, 21: _FAILED, 22: _FAILED,
    23: (OK, "the key is plugged in"),
    24: (CRITICAL, "the key is not available at the dongle server"),
    25: (UNKNOWN, "the key is in use, and the tool does not say by whom: "
         "--utn-code 25=ok if this is by design"),
    26: (CRITICAL, "the key is not found at the dongle server: is it plugged in?"),
    27: (UNKNOWN, "the dongle server does not know the state of the key (older manual)"),
}  # fmt: skip
_SERVER = {
    40: _OFF, 41: _OFF, 42: _OFF, 101: _OFF,
    43: (UNKNOWN, "the name of the dongle server cannot be resolved"),
    44: (UNKNOWN, "this user may not ask the dongle server"),
}  # fmt: skip
PRODUCT = Product("SEH UTN", exit_codes={code: (part, Finding(*told))
                                         for part, table in (("device", _KEY), ("answer", _SERVER))
                                         for code, told in table.items()})  # fmt: skip

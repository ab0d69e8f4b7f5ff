"""SEH UTN dongle servers: `utnm -c "state ADDRESS PORT"` answers by its exit code (vendor's manual; an older
one has other codes: --utn-code)."""

from ...contract.language import N_
from ..product import CRITICAL, OK, UNKNOWN, Finding, Product

_IN_USE = N_("the key is in use, and nobody knows by whom: --utn-code 25=ok if this is by design")
_OFF = Finding(CRITICAL, N_("the connection to the dongle server fails: is it on, and reachable from here?"))
PRODUCT = Product("SEH UTN", traces={"program:utnm": "client"}, exit_codes={
    0: ("device", Finding(OK, N_("the dongle server answers for the key"))),
    23: ("device", Finding(OK, N_("the key is plugged in"))),
    24: ("device", Finding(CRITICAL, N_("the key is not available at the dongle server"))),
    25: ("device", Finding(UNKNOWN, _IN_USE)),
    26: ("device", Finding(CRITICAL, N_("the key is not found at the dongle server: is it plugged in?"))),
    **dict.fromkeys((40, 41, 42, 101), ("answer", _OFF)),
    43: ("answer", Finding(UNKNOWN, N_("the name of the dongle server cannot be resolved"))),
    44: ("answer", Finding(UNKNOWN, N_("this user may not ask the dongle server"))),
})  # fmt: skip

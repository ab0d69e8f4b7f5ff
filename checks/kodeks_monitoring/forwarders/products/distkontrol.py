"""DistKontrolUSB, a hub with an edition of VirtualHere: the same list under another name (public scripts)."""

from ..product import Product
from .virtualhere import read

PRODUCT = Product(
    "DistKontrolUSB", port=6565, read=read,
    sources={("client", "posix"): "dkclientx86_64 -t LIST", ("client", "nt"): "service:dkclient"},
    traces={"process:dkclientx86_64": "client", "process:dkcl64.exe": "client"},
)  # fmt: skip

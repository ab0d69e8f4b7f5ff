"""USB over Network (FabulaTech). Of its list (`ftusbnetctl list`) no whole capture is public."""

from ..product import Product

PRODUCT = Product(
    "USB over Network", needs_license=True,
    sources={("server", "posix"): "process:ftusbnetd", ("server", "nt"): "service:ftnlsv3"},
    traces={"program:/opt/ftusbnet/bin/ftusbnetctl": ""},
)  # fmt: skip

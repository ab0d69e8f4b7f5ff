"""A forwarder of which nothing is known: its process, service or port."""

from ...contract.language import N_
from ..product import Product

PRODUCT = Product(N_("the forwarder"))

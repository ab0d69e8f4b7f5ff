"""A forwarder of which nothing is known: its process, service or port."""

from ..product import Product

PRODUCT = Product("the forwarder")

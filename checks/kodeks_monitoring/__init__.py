"""What the checks of monitoring-plugins-kodeks share.

From the bottom up: `contract` is what every plugin owes its engine, `machine` asks this machine, `kodeks` and
`forwarders` know the products. A package imports only from those before it.
"""

import sys

if sys.version_info < (3, 9):
    raise ImportError("Python 3.9 or newer is needed, this is %d.%d" % sys.version_info[:2])

__version__ = "2.0.0"

PROJECT = "monitoring-plugins-kodeks"

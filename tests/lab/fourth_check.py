#!/usr/bin/env python3
"""Are there enough apples in the basket? A check that no list of this project names, for tests."""
import os
import sys

try:
    sys.path.append(os.path.dirname(os.path.realpath(__file__)))  # python3 -I and -P leave it out
    from kodeks_monitoring.contract import deadline

    deadline.start("APPLES", __name__)
except Exception as error:  # noqa: BLE001  whatever a failed copy left: no traceback, no exit code 1
    reason = ascii(str(error))[1:-1]
    print("APPLES UNKNOWN - the check cannot start (%s): copy the whole checks folder again" % reason)
    raise SystemExit(3) from None

import argparse
from typing import Iterator

import nagiosplugin
from kodeks_monitoring.contract.language import ngettext
from kodeks_monitoring.contract.options import Options, threshold
from kodeks_monitoring.contract.run import Finding, Number, Part, judge, run

EXAMPLES = """\
  check_apples
  check_apples -w 2: -c 1:
  check_apples --extra-opts=apples"""


def apples(number: int) -> str:
    """How many apples there are, in words."""
    return ngettext("{n} apple in the basket", "{n} apples in the basket", number)


class Basket(nagiosplugin.Resource):
    """A basket of three apples."""

    def __init__(self, warning: nagiosplugin.Range, critical: nagiosplugin.Range) -> None:
        self.warning, self.critical = warning, critical

    def probe(self) -> Iterator[nagiosplugin.Metric]:
        """The number of apples, and what it means."""
        yield nagiosplugin.Metric("apples", 3, context="apples")
        state = judge(3, self.warning, self.critical)
        yield nagiosplugin.Metric("basket", Finding(state, apples(3)), context="basket")


class Sentence(nagiosplugin.Summary):
    """The sentence of a good run."""

    def ok(self, results: nagiosplugin.Results) -> str:
        """All apples are there."""
        return apples(3)


def options() -> Options:
    """The options of this check."""
    parser = Options("check_apples", "Checks that there are enough apples in the basket.", EXAMPLES)
    group = parser.add_argument_group("the basket")
    group.add_argument("-w", "--warning", metavar="RANGE", type=threshold, help="apples that are no WARNING")
    group.add_argument("-c", "--critical", metavar="RANGE", type=threshold, default="1:",
                       help="apples that are not CRITICAL (1:)")
    return parser


def build(values: argparse.Namespace) -> nagiosplugin.Check:
    """The check that these options ask for."""
    number = Number("apples", "", values.warning, values.critical, 0)
    return nagiosplugin.Check(Basket(values.warning, values.critical), number, Part("basket"), Sentence())


def main() -> None:
    """The console script."""
    run("APPLES", options(), build, part="basket")


if __name__ == "__main__":
    main()

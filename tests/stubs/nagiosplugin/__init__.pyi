"""Types of the parts of nagiosplugin that the checks use; the library ships none."""

from typing import Any, Callable, Iterable, Iterator, NamedTuple

class ServiceState(NamedTuple):
    code: int
    text: str
    def __int__(self) -> int: ...

Ok: ServiceState
Warn: ServiceState
Critical: ServiceState
Unknown: ServiceState

class CheckError(RuntimeError): ...

class Range:
    start: float
    end: float
    invert: bool
    def __init__(self, spec: str | Range | None = ...) -> None: ...
    def match(self, value: float) -> bool: ...

class Performance:
    def __init__(
        self,
        label: str,
        value: object,
        uom: str | None = ...,
        warn: object = ...,
        crit: object = ...,
        min: object = ...,
        max: object = ...,
    ) -> None: ...

class Metric:
    def performance(self) -> Performance | None: ...
    name: str
    value: Any
    def __init__(
        self,
        name: str,
        value: object,
        uom: str | None = ...,
        min: float | None = ...,
        max: float | None = ...,
        context: str | None = ...,
    ) -> None: ...

class Resource:
    @property
    def name(self) -> str: ...
    def probe(self) -> Iterable[Metric] | Metric: ...

class Result:
    state: ServiceState
    hint: str | None
    metric: Metric | None
    @property
    def context(self) -> Context | None: ...
    def __init__(self, state: ServiceState, hint: str | None = ..., metric: Metric | None = ...) -> None: ...

class Results:
    results: list[Result]
    def __iter__(self) -> Iterator[Result]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, item: int | str) -> Result: ...
    def __contains__(self, name: str) -> bool: ...

class Context:
    name: str
    def __init__(self, name: str, fmt_metric: str | Callable[..., str] | None = ...) -> None: ...
    def evaluate(self, metric: Metric, resource: Resource) -> Result | ServiceState: ...
    def performance(self, metric: Metric, resource: Resource) -> Performance | None: ...

class Summary:
    def ok(self, results: Results) -> str: ...
    def problem(self, results: Results) -> str: ...
    def verbose(self, results: Results) -> str | list[str] | None: ...

class Check:
    results: Results
    perfdata: list[str]
    summary: Summary
    def __init__(self, *objects: Resource | Context | Summary | Results, name: str = ...) -> None: ...
    def __call__(self) -> None: ...

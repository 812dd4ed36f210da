"""Traces for an OpenTelemetry collector, where one is named (`YARD_TRACES`).

Without one nothing of this is loaded, and nothing is ever sent elsewhere. A span holds what was answered in
which time: method, path, status, model, number of rows and the request's id; never a row, an answer, a query
or a token.
"""

from __future__ import annotations

import importlib.util
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from modelyard.records.errors import InvalidError, YardError

if TYPE_CHECKING:
    from opentelemetry.trace import Span

Value = str | int | float | bool
Done = TypeVar("Done")
_PARTS = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
_PATH = "/v1/traces"
_EXPORT_SECONDS = 3.0  # a collector that takes longer must not hold up the end of a process


def check_installed() -> None:
    """Nothing if traces can be made here.

    Raises:
        InvalidError: the libraries are not installed.
    """
    for part in _PARTS:
        try:
            found = importlib.util.find_spec(part)
        except ModuleNotFoundError:
            found = None
        if found is None:
            raise InvalidError(
                f"YARD_TRACES is set, and the part {part!r} is not installed here.",
                "Run: pip install 'modelyard[otel]', or unset YARD_TRACES.",
            )


class Tracing:
    """Makes spans and has them sent, in a thread of its own, to one collector.

    Args:
        collector: its address, as `http://collector:4318`. Headers that it wants are given as
            OTEL_EXPORTER_OTLP_HEADERS, certificates as OTEL_EXPORTER_OTLP_CERTIFICATE.
        share: of the traces that begin here; those that a caller has begun are sent as the caller says.
        process: which process of the node this is, as `engine` or `front-0`.
        release: of the software.
    """

    def __init__(self, collector: str, share: float, process: str, release: str) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - optional, as all of these
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased  # noqa: PLC0415
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        own = {
            "service.name": "modelyard",
            "service.version": release,
            "service.instance.id": f"{socket.gethostname()}/{process}",
        }
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(share)), resource=Resource(own), shutdown_on_exit=False
        )
        exporter = OTLPSpanExporter(collector.rstrip("/") + _PATH, timeout=_EXPORT_SECONDS)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("modelyard", release)
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def span(
        self,
        name: str,
        attributes: Mapping[str, Value],
        headers: Iterable[tuple[bytes, bytes]] = (),
        *,
        serves: bool = False,
    ) -> Iterator[Span]:
        """What happens inside, as a part of the trace that goes on here.

        Args:
            headers: of a request, which may say what trace it belongs to (W3C Trace Context).
            serves: whether it answers somebody else's request.
        """
        from opentelemetry.trace import SpanKind, Status, StatusCode  # noqa: PLC0415 - optional

        carrier = {k.decode("latin-1"): v.decode("latin-1") for k, v in headers if k.startswith(b"trace")}
        context = self._propagator.extract(carrier) if carrier else None
        kind = SpanKind.SERVER if serves else SpanKind.INTERNAL
        with self._tracer.start_as_current_span(
            name, context, kind, dict(attributes), record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield span
            except BaseException as error:
                # Its words may repeat what somebody sent: a row, an address with a password.
                span.set_attribute(
                    "error.type", error.code if isinstance(error, YardError) else type(error).__name__
                )
                span.set_status(Status(StatusCode.ERROR))
                raise

    def steps(self, steps: Mapping[str, Callable[[Any], Done]]) -> dict[str, Callable[[Any], Done]]:
        """The loop's steps by kind, each of which makes a span when it is done."""
        return {kind: self._step(kind, step) for kind, step in steps.items()}

    def _step(self, kind: str, step: Callable[[Any], Done]) -> Callable[[Any], Done]:
        def traced(duty: Any) -> Done:  # noqa: ANN401 - store.duties.Duty, which is a floor up
            with self.span(f"loop {kind}", {"yard.duty": kind, "yard.subject": duty.subject}):
                return step(duty)

        return traced

    def close(self) -> None:
        """Send what waits, and end."""
        self._provider.shutdown()

"""What the interceptors of both sides share: their options, and one call's notes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from opentelemetry import context, propagate, trace

import gyrfalcon as gyr

from .spans import Messages

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.propagators.textmap import TextMapPropagator
    from opentelemetry.trace import Span, SpanKind, TracerProvider

    from .metrics import Labels

Filter: TypeAlias = Callable[[str], bool]
"""Whether a name may stand in metrics; "other" stands there in its place where not."""

OTHER = "other"


class Notes:
    """What is noted of one call while it runs."""

    __slots__ = (
        "attempt_began",
        "attempts",
        "began",
        "context",
        "labels",
        "messages",
        "span",
        "token",
    )

    def __init__(self, began: float, labels: Labels) -> None:
        self.began = began
        self.labels = labels
        self.span: Span | None = None
        self.context: Context | None = None  # in which the span is the current one
        self.token: Any = None
        self.messages: Messages | None = None
        self.attempts = 0
        self.attempt_began = began


class Telemetry(gyr.Interceptor):
    """The part of an interceptor that both sides have."""

    def __init__(
        self,
        *,
        traces: bool,
        metrics: bool,
        message_events: bool,
        method_filter: Filter | None,
        tracer_provider: TracerProvider | None,
        propagator: TextMapPropagator | None,
    ) -> None:
        if message_events and not traces:
            raise ValueError("message_events=True with traces=False: events belong to spans")
        if not traces and not metrics:
            raise ValueError("traces=False and metrics=False: leave the interceptor out instead")
        self._tracer = (
            trace.get_tracer("gyrfalcon", gyr.__version__, tracer_provider) if traces else None
        )
        self._propagator = propagator
        self._method_filter = method_filter
        self._message_events = message_events
        if message_events:
            # Only now: interceptors without these hooks are not asked about each message.
            self.request = self._note_request  # type: ignore[method-assign]
            self.reply = self._note_reply  # type: ignore[method-assign]

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    @property
    def propagator(self) -> TextMapPropagator:
        """What writes and reads trace context: the global one, unless another was given."""
        return propagate.get_global_textmap() if self._propagator is None else self._propagator

    def shown(self, method: str, registered: bool = True) -> str:
        """The name of a method in metrics, of "package.Service/Method"."""
        may = registered if self._method_filter is None else self._method_filter(method)
        return method if may else OTHER

    def start_span(
        self,
        notes: Notes,
        name: str,
        kind: SpanKind,
        attributes: dict[str, str | int],
        parent: Context | None = None,
    ) -> None:
        """Start the span of a call, and make it the current one."""
        if self._tracer is None:
            return
        span = self._tracer.start_span(name, parent, kind, attributes)
        notes.span = span
        notes.context = trace.set_span_in_context(span, parent)
        notes.token = context.attach(notes.context)
        if self._message_events:
            notes.messages = Messages(span)

    def _note_request(self, call: gyr.InterceptedCall, message: Any) -> Any:
        messages = self._messages(call)
        if messages is not None:
            (messages.sent if call.is_client else messages.received)(message)
        return message

    def _note_reply(self, call: gyr.InterceptedCall, message: Any) -> Any:
        messages = self._messages(call)
        if messages is not None:
            (messages.received if call.is_client else messages.sent)(message)
        return message

    def _messages(self, call: gyr.InterceptedCall) -> Messages | None:
        notes = call.state.get(self)
        return notes.messages if isinstance(notes, Notes) else None

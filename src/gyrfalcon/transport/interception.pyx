"""Running interceptors: the generators of one call, as one state machine for both sides.

The machine goes inwards through the interceptors to the call, and back outwards with its outcome.
It never waits: where an asynchronous interceptor has to be awaited it returns what is to be
awaited, and `drive` does so in a task. Client and server say through a subclass what a call is
there (client/interception.pyx, server/interception.pyx).
"""
import logging

cimport cython
from cpython.object cimport PyObject

from .._core.python cimport PYGEN_ERROR, PYGEN_NEXT, PYGEN_RETURN, PySendResult

from ..rpc.interceptor import Retry, check_interceptors, is_async, overridden
from ..rpc.metadata import Metadata
from ..rpc.rich_status import decode_details
from ..rpc.status import CodeType, StatusCode

cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(object held)

# A `try` saves and restores what the thread handles, whether or not anything is raised: 150
# instructions a call, here and for the context. What is called here leaves its error set instead,
# and `raised` raises it.
cdef extern from *:
    """
    static CYTHON_INLINE int gyr_raised(void) { return -1; }
    /* As PyObject_CallOneArg, without a bound method between us and its function. */
    static CYTHON_INLINE PyObject *gyr_begin_with(PyObject *start, PyObject *call) {
        PyObject *arguments[2];
        vectorcallfunc function;
        if (!PyMethod_Check(start)) return PyObject_CallOneArg(start, call);
        arguments[0] = PyMethod_GET_SELF(start);
        arguments[1] = call;
        start = PyMethod_GET_FUNCTION(start);
        function = PyVectorcall_Function(start);
        if (function == NULL) return PyObject_Vectorcall(start, arguments, 2, NULL);
        return function(start, arguments, 2, NULL);
    }
    static CYTHON_INLINE PyObject *gyr_at(PyObject *list, Py_ssize_t index) {
        return PyList_GET_ITEM(list, index);
    }
    static CYTHON_INLINE void gyr_put(PyObject *list, Py_ssize_t index, PyObject *stolen) {
        PyObject *before = PyList_GET_ITEM(list, index);
        PyList_SET_ITEM(list, index, stolen);
        Py_DECREF(before);
    }
    static CYTHON_INLINE void gyr_empty(PyObject *list, Py_ssize_t index) {
        Py_INCREF(Py_None);
        gyr_put(list, index, Py_None);
    }
    static CYTHON_INLINE void gyr_give_up(PyObject *object) { Py_XDECREF(object); }
    """
    PyObject *begin_with "gyr_begin_with" (object start, object call) noexcept
    PySendResult send_to "PyIter_Send" (
        object generator, PyObject *value, PyObject **result) noexcept
    int raised "gyr_raised" () except -1
    PyObject *at "gyr_at" (list items, Py_ssize_t index) noexcept
    void put "gyr_put" (list items, Py_ssize_t index, PyObject *stolen) noexcept
    void empty "gyr_empty" (list items, Py_ssize_t index) noexcept
    void give_up "gyr_give_up" (PyObject *object) noexcept

# CPython 3.11 has an EnumType.__getattr__, for members that it stored elsewhere once, and Python
# asks for attributes of such a class in a roundabout way: 100 ns for the StatusCode.OK that
# interceptors and callers compare codes with, in place of 20 from 3.12 on.
cdef extern from *:
    """
    static void gyr_look_up_as_types_do(PyObject *metaclass) {
    #if PY_VERSION_HEX < 0x030C0000
        ((PyTypeObject *)metaclass)->tp_getattro = PyType_Type.tp_getattro;
    #else
        (void)metaclass;
    #endif
    }
    """
    void look_up_as_types_do "gyr_look_up_as_types_do" (object metaclass) noexcept

look_up_as_types_do(CodeType)

log = logging.getLogger("gyrfalcon.server")

cdef PyObject *NONE = <PyObject *> None

cdef list CODES = sorted(StatusCode)      # each at its number's place
cdef object UNKNOWN = StatusCode.UNKNOWN

# Interceptions that are kept for other calls: as many as a turn of a busy loop has at a time.
cdef Py_ssize_t MOST_SPARE = 64


cdef object code_of(int status):
    return CODES[status] if 0 <= status < len(CODES) else UNKNOWN


cdef class Interceptors:
    """The interceptors of a channel or a server, looked up once."""

    def __init__(self, interceptors):
        self.interceptors = check_interceptors(interceptors)
        self.count = len(self.interceptors)
        self.starts = [overridden(one, "intercept") for one in self.interceptors]
        self.requests = [overridden(one, "request") for one in self.interceptors]
        self.replies = [overridden(one, "reply") for one in self.interceptors]
        self.awaiting = [is_async(one) for one in self.interceptors]
        self.has_async = any(self.awaiting)
        self.has_requests = any(hook is not None for hook in self.requests)
        self.has_replies = any(hook is not None for hook in self.replies)
        self.attempt_starts = self.hooks("attempt_started")
        self.attempt_ends = self.hooks("attempt_ended")
        self.answers = self.hooks("answered")
        self.refusals = self.hooks("refused")
        self.spare = [None] * MOST_SPARE
        self.sees_attempts = bool(self.attempt_starts or self.attempt_ends)

    def hooks(self, name):
        """The methods of that name of those interceptors that have one of their own."""
        found = [overridden(one, name) for one in self.interceptors]
        return [hook for hook in found if hook is not None]

    cdef int begin(self, object call, object message) except -1:
        """Begin to intercept a call with this request, None for a stream of them."""
        raise AssertionError("a side begins to intercept its calls")

    cdef bint take_back(self, Interception used, Py_ssize_t holders) except -1:
        """Keep an interception for another call, if its own is over and nobody but these holders
        knows it: to make and free one costs a tenth of what two interceptors do. Whether it was
        kept."""
        if (Py_REFCNT(used) != holders or used.phase != OVER or used.depth or self.has_async
                or self.spare is None or self.spare_count == MOST_SPARE or not used.clear()):
            return False
        self.spare[self.spare_count] = used
        self.spare_count += 1
        return True

    cdef Interception take_spare(self):
        """One that was kept, as good as new; None when there is none."""
        cdef Interception kept
        if self.spare_count == 0:
            return None
        self.spare_count -= 1
        kept = <Interception> self.spare[self.spare_count]
        self.spare[self.spare_count] = None
        return kept

    cdef int tell_refused(self, str method, int code, bint registered) except -1:
        """Server: a call was answered before its interceptors."""
        for hook in self.refusals:
            try:
                hook(method, code_of(code), registered)
            except Exception:
                log.exception("%s: %s failed", method, hook.__qualname__)
        return 0


@cython.freelist(64)
cdef class CallOutcome:
    """How a call ended, as its interceptors see it (`gyrfalcon.Outcome`)."""

    @property
    def code(self):
        """The status code."""
        return code_of(self.status)

    @property
    def message(self):
        """The text of the status."""
        return self.text

    @property
    def details(self):
        """The detail messages of the status."""
        if type(self.raw_details) is bytes:
            return decode_details(self.raw_details, self.code)
        return self.raw_details or ()

    @property
    def error(self):
        """What the caller gets; None after OK."""
        if self.failure is None and self.status != 0:
            self.failure = self.call.error_of(self)
            self.failure.__cause__ = self.cause
        return self.failure

    @property
    def initial_metadata(self):
        """What the server sends, or sent, before the replies."""
        if self.initial is None:
            self.initial = self.call.initial_of(self)
        return self.initial

    @property
    def trailing_metadata(self):
        """What goes, or came, with the status."""
        if self.trailing is None:
            self.trailing = self.call.trailing_of(self)
        return self.trailing

    @property
    def retryable(self):
        """Whether `yield` would make the call again."""
        return self.call.phase == LEAVING and self.call.why_not_again() is None

    def __repr__(self):
        return f"<Outcome {self.code.name} {self.text!r}>"


cdef class Interception:
    """One call on its way through the interceptors (`gyrfalcon.InterceptedCall`)."""

    # ------------------------------------------------------------------ what interceptors use

    @property
    def state(self):
        """The interceptors' own notes on this call."""
        if self.notes is None:
            self.notes = {}
        return self.notes

    def answer(self, *replies, initial_metadata=None, trailing_metadata=None):
        """End the call with OK and these replies."""
        if not (self.running or self.awaited) or not self.may_answer():
            raise RuntimeError(
                f"{self.method}: answer() is for `intercept`, before its `yield`, or after it "
                "while nothing of the reply was handed on")
        if not self.server_streaming and len(replies) != 1:
            raise RuntimeError(f"{self.method} has one reply; {len(replies)} were given to answer")
        self.answer_given = (replies, Metadata(initial_metadata), Metadata(trailing_metadata))

    # ------------------------------------------------------------------ what a side says

    cdef CallOutcome outcome_of(self, object error):
        """The outcome that an exception makes."""
        raise AssertionError("a side knows what exceptions mean")

    cdef object error_of(self, CallOutcome outcome):
        """The exception that an outcome makes, which is not OK."""
        raise AssertionError("a side knows its errors")

    cdef object initial_of(self, CallOutcome outcome):
        """The Metadata of the head."""
        raise AssertionError("a side knows its metadata")

    cdef object trailing_of(self, CallOutcome outcome):
        """The Metadata of the status."""
        raise AssertionError("a side knows its metadata")

    cdef str why_not_again(self):
        """Why the call cannot be made again; None when it can."""
        raise AssertionError("a side knows whether calls can be repeated")

    cdef bint may_answer(self):
        """Whether nothing of the reply has been handed on."""
        raise AssertionError("a side knows whether it has replied")

    cdef bint call_ended(self) except -1:
        """Client: the call has an outcome. Whether that is final."""
        raise AssertionError("only clients ask")

    cdef int attempt_begins(self) except -1:
        """Client: the call looks for a connection."""
        raise AssertionError("only clients make attempts")

    cdef int attempt_failed(self, int code, str message) except -1:
        """Client: an attempt is given up and the call goes to another connection by itself."""
        raise AssertionError("only clients make attempts")

    cdef int conclude(self, object reply, object error) except -1:
        """Server: the handler returned, or raised; answer the call."""
        raise AssertionError("only servers tell")

    cdef object send_through(self, object request):
        """Client: one request of a stream, on its way."""
        raise AssertionError("only clients send requests")

    cdef int keep(self, object request) except -1:
        """Client: keep what was sent of a stream, for another attempt."""
        raise AssertionError("only clients keep requests")

    cdef int resend(self) except -1:
        """Client: send again what was kept."""
        raise AssertionError("only clients keep requests")

    cdef object hand_over(self, object reply):
        """Client: one reply of a stream, on its way to the caller."""
        raise AssertionError("only clients take replies")

    cdef int commit(self) except -1:
        """Client: something of the reply is handed to the caller."""
        raise AssertionError("only clients take replies")

    cdef bint take_errand(self) except -1:
        """Client: run the interceptors, if they wait for a thread that does. Whether they did."""
        raise AssertionError("only clients share a loop")

    cdef int pass_errand_on(self) except -1:
        """Client: the thread that was to run the interceptors will not."""
        raise AssertionError("only clients share a loop")

    # ------------------------------------------------------------------ messages on their way

    cdef object hook_request(self, object message):
        if self.interceptors.has_requests:
            for hook in self.interceptors.requests:
                if hook is not None:
                    message = hook(self, message)
        return message

    cdef object hook_reply(self, object message):
        cdef Py_ssize_t index
        if self.interceptors.has_replies:
            for index in range(self.interceptors.count - 1, -1, -1):
                hook = self.interceptors.replies[index]
                if hook is not None:
                    message = hook(self, message)
        return message

    # ------------------------------------------------------------------ the machine

    cdef CallOutcome made(self, int status, str text):
        cdef CallOutcome outcome = self.unused
        if outcome is None:
            outcome = CallOutcome.__new__(CallOutcome)
        else:
            self.unused = None
        outcome.call = self
        outcome.status = status
        outcome.text = text
        outcome.as_it_came = False
        return outcome

    cdef int forget_outcome(self) except -1:
        """The call is answered. An outcome knows its interception: nothing is to be left to the
        collector of cycles. One that nobody else holds is kept for the next call."""
        cdef CallOutcome outcome = self.outcome
        self.outcome = None
        self.tail = None
        if outcome is None or Py_REFCNT(outcome) != 1:
            return 0
        outcome.call = None
        outcome.raw_details = None
        outcome.failure = None
        outcome.cause = None
        outcome.source = None
        outcome.initial = None
        outcome.trailing = None
        self.unused = outcome
        return 0

    cdef int turn_back(self, CallOutcome outcome, list tail) except -1:
        """The call is over: go outwards with this outcome, and replies that no interceptor saw."""
        self.outcome = outcome
        self.tail = tail
        self.hooked = False
        self.phase = LEAVING
        return 0

    cdef object advance(self):
        """Run what can run now. Returns None when `phase` is CALLING, PAUSED or OVER; else what
        is to be awaited, and its end told to `resumed`."""
        self.running = True
        try:
            return run_on(self)
        finally:
            self.running = False

    cdef int stepped(self, PySendResult way, PyObject *result) except -1:
        """The innermost interceptor went on otherwise than most do on most calls."""
        try:
            if way == PYGEN_NEXT:
                self.yielded(<object> result)
            elif way == PYGEN_RETURN:
                self.ended()
            else:
                raised()
        except BaseException as error:
            self.failed(error)
        return 0

    cdef object step_slowly(self, object value):
        """Let the innermost interceptor go on where an error is to be raised in there, or where it
        may have to be awaited: what is to be, or None."""
        generator = <object> at(self.entered, self.depth - 1)
        error, self.thrown = self.thrown, None
        try:
            if self.interceptors.awaiting[self.depth - 1]:
                return generator.asend(value) if error is None else generator.athrow(error)
            try:
                value = generator.send(value) if error is None else generator.throw(error)
            except StopIteration:
                self.ended()
            else:
                self.yielded(value)
        except BaseException as failure:
            self.failed(failure)
        return None

    def resumed(self, value, error):
        """What was awaited is done: its value, or its exception."""
        self.awaited = False
        self.running = True
        try:
            if error is None:
                self.yielded(value)
            elif isinstance(error, StopAsyncIteration):
                self.ended()
            else:
                self.failed(error)
        finally:
            self.running = False

    cdef int yielded(self, object value) except -1:
        """The innermost interceptor waits for its call, or wants it again."""
        if self.answer_given is not None:
            self.answer_given = None
            self.thrown = RuntimeError(
                f"{self.name_of_innermost()}.intercept has answered {self.method}: it must return, "
                "not yield")
        elif self.phase == ENTERING:
            if value is None:
                return 0
            self.thrown = RuntimeError(
                f"{self.name_of_innermost()}.intercept yielded {value!r} before {self.method} was "
                "made: the first `yield` is without a value")
        else:
            if value is not None and not isinstance(value, Retry):
                why = f"{value!r} is no gyrfalcon.Retry"
            else:
                why = self.why_not_again()
            if why is None:
                self.pause = 0 if value is None else value.after
                self.phase = PAUSED
                self.attempt += 1
                self.outcome = None
                self.tail = None
                self.hooked = False
                return 0
            self.thrown = RuntimeError(
                f"{self.name_of_innermost()}.intercept yielded again: {why}")
        return self.throw_on()

    cdef int throw_on(self) except -1:
        """Raise `thrown` in the innermost interceptor, whichever way the call is going."""
        if self.phase == ENTERING:
            # It is left like one that refuses the call.
            self.turn_back(self.made(2, str(self.thrown)), None)
            self.hooked = True
        return 0

    cdef int go_on(self) except -1:
        """After PAUSED: make the call again."""
        self.phase = ENTERING
        return 0

    cdef int ended(self) except -1:
        """The innermost interceptor returned."""
        if self.answer_given is not None:
            self.take_answer()
        elif self.phase == ENTERING:
            return self.failed(RuntimeError(
                f"{self.name_of_innermost()}.intercept returned before its `yield` and without "
                f"call.answer(...): {self.method} has no answer"))
        return drop(self, self.entered)

    cdef int take_answer(self) except -1:
        """The innermost interceptor has answered the call."""
        cdef CallOutcome outcome = self.made(0, "")
        replies, outcome.initial, outcome.trailing = self.answer_given
        self.answer_given = None
        return self.turn_back(outcome, list(replies))

    cdef int failed(self, object error) except -1:
        """The innermost interceptor raised."""
        self.answer_given = None
        if self.stopped is not None:
            # Of an interceptor that was cancelled because its call was.
            outcome, self.stopped = self.stopped, None
        else:
            outcome = self.outcome_of(error)
        # Replies of a stream that came before its error are not lost.
        self.turn_back(outcome, self.tail if self.server_streaming else None)
        return drop(self, self.entered)

    cdef int hook_tail(self) except -1:
        """The innermost interceptor sees the replies that have not passed it."""
        cdef Py_ssize_t index = 0
        if not self.tail:
            return 0
        hook = self.interceptors.replies[self.depth - 1]
        if hook is None:
            return 0
        try:
            for index in range(len(self.tail)):
                self.tail[index] = hook(self, self.tail[index])
        except BaseException as error:
            self.outcome = self.outcome_of(error)
            self.tail = self.tail[:index] if self.server_streaming else None
        return 0

    cdef str name_of_innermost(self):
        """The class of the innermost interceptor that was entered."""
        return type(self.interceptors.interceptors[self.depth - 1]).__name__

    cdef bint clear(self) except -1:
        """Forget the call. False where more was left behind than most calls leave."""
        if (self.outcome is not None or self.tail is not None or self.stopped is not None
                or self.thrown is not None or self.answer_given is not None):
            return False
        self.interceptors = None
        self.owner = NULL
        self.hooked = False
        self.pause = 0
        self.attempt = 0
        self.notes = None
        self.message = None
        self.taken = False
        self.phase = ENTERING
        return True

    def close(self):
        """The call does not go on: end the generators."""
        self.phase = OVER
        while self.depth:
            generator = self.entered[self.depth - 1]
            drop(self, self.entered)
            if hasattr(generator, "close"):
                generator.close()


cdef inline int drop(Interception self, list entered) except -1:
    """The innermost interceptor is through."""
    self.depth -= 1
    empty(entered, self.depth)
    self.hooked = False
    return 0


cdef inline bint enter_next(Interception self, list starts, list entered) except -1:
    """One interceptor further in. False where there is nothing of it to run."""
    cdef PyObject *start = at(starts, self.depth)
    cdef PyObject *generator
    self.depth += 1
    if start == NONE:
        return False
    generator = begin_with(<object> start, self)
    if generator == NULL:
        self.stepped(PYGEN_ERROR, NULL)
        return False
    put(entered, self.depth - 1, generator)
    return True


cdef inline int step(Interception self, list entered, PyObject *value) except -1:
    """Let the innermost interceptor go on, where nothing is to be awaited or raised there."""
    cdef object generator = <object> at(entered, self.depth - 1)
    cdef PyObject *result = NULL
    cdef PySendResult way = send_to(generator, value, &result)
    if self.answer_given is not None:
        self.stepped(way, result)
    elif way == PYGEN_RETURN and self.phase == LEAVING:
        drop(self, entered)
    elif way != PYGEN_NEXT or self.phase != ENTERING or result != NONE:
        self.stepped(way, result)
    give_up(result)
    return 0


cdef inline object run_on(Interception self):
    """`advance`: one step after another."""
    cdef Interceptors interceptors = self.interceptors
    cdef list entered = self.entered
    cdef PyObject *value
    while True:
        if self.stopped is not None:
            if self.phase == ENTERING:
                self.turn_back(self.stopped, None)
            self.stopped = None
        if self.phase == ENTERING:
            if self.depth == interceptors.count:
                self.phase = CALLING
                return None
            if not enter_next(self, interceptors.starts, entered):
                continue
            value = NONE
        elif self.phase == LEAVING:
            if self.depth == 0:
                self.phase = OVER
                return None
            if interceptors.has_replies and not self.hooked:
                self.hooked = True
                self.hook_tail()
            if at(entered, self.depth - 1) == NONE:
                drop(self, entered)
                continue
            value = <PyObject *> self.outcome
        else:
            return None
        if self.thrown is None and not interceptors.has_async:
            step(self, entered, value)
            continue
        awaitable = self.step_slowly(<object> value)
        if awaitable is not None:
            self.awaited = True
            return awaitable


async def drive(Interception interception):
    """Run a call's interceptors where some are to be awaited."""
    while True:
        awaitable = interception.advance()
        if awaitable is None:
            return
        try:
            value = await awaitable
        except GeneratorExit:
            raise
        except BaseException as error:
            interception.resumed(None, error)
        else:
            interception.resumed(value, None)

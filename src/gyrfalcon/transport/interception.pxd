from cpython.object cimport PyObject

from .._core.python cimport PySendResult

cdef extern from *:
    """
    static CYTHON_INLINE int gyr_enter_context(PyObject *context) {
        if (PyContext_Enter(context) == 0) return 1;
        if (!PyErr_ExceptionMatches(PyExc_RuntimeError)) return -1;
        PyErr_Clear();
        return 0;
    }
    """
    # False where the context is this thread's already.
    bint enter_context "gyr_enter_context" (object context) except -1
    int leave_context "PyContext_Exit" (object context) except -1

cdef enum Phase:
    ENTERING = 1        # interceptors run up to their `yield`, the outermost first
    CALLING = 2         # the call runs
    LEAVING = 3         # they go on, the innermost first
    PAUSED = 4          # one has asked for the call to be made again
    OVER = 5


cdef class Interceptors:
    cdef readonly tuple interceptors
    cdef Py_ssize_t count
    cdef list starts                # of each: `intercept`, or None where it is the base class's
    cdef list requests              # `request`, or None
    cdef list replies               # `reply`, or None
    cdef list awaiting              # whether `intercept` is `async def`
    cdef readonly bint has_async
    cdef readonly bint has_requests
    cdef readonly bint has_replies
    cdef list attempt_starts        # `attempt_started` of those that have it
    cdef list attempt_ends
    cdef list answers               # `answered`
    cdef list refusals              # `refused`
    cdef bint sees_attempts
    cdef list spare                 # interceptions of calls that are over, for others
    cdef Py_ssize_t spare_count

    cdef Interception take_spare(self)
    cdef bint take_back(self, Interception used, Py_ssize_t holders) except -1
    cdef int begin(self, object call, object message) except -1
    cdef int tell_refused(self, str method, int code, bint registered) except -1


cdef class CallOutcome:
    cdef Interception call
    cdef int status
    cdef str text
    cdef object raw_details         # bytes, or messages
    cdef object failure             # the exception, where there is one already
    cdef object cause               # what was raised, which the other side is not told
    cdef object source              # where its metadata is read from
    cdef bint as_it_came            # client: of the attempt, which no interceptor replaced
    cdef object initial             # Metadata, once somebody looked
    cdef object trailing


cdef class Interception:
    cdef Interceptors interceptors
    cdef PyObject *owner            # the client's call, which holds this
    cdef Py_ssize_t depth           # how many were entered
    cdef list entered               # their generators; None for one that only has hooks
    cdef int phase
    cdef bint running               # one of them runs
    cdef bint awaited               # one of them awaits, in a task
    cdef bint hooked                # the innermost one left has had its look at the tail
    cdef object thrown              # raised in the generator in place of going on
    cdef CallOutcome outcome
    cdef CallOutcome stopped        # the call ended while they were on the way in
    cdef list tail                  # replies that have not passed those still to be left
    cdef tuple answer_given         # replies, initial and trailing metadata
    cdef CallOutcome unused         # kept for the next call
    cdef readonly double pause      # seconds, with PAUSED
    cdef readonly int attempt
    cdef dict notes
    cdef bint server_streaming
    cdef object message             # the request of a call with one, before they change it
    cdef bint taken                 # server: that was read

    cdef object advance(self)
    cdef int stepped(self, PySendResult way, PyObject *result) except -1
    cdef object step_slowly(self, object value)
    cdef int take_answer(self) except -1
    cdef int throw_on(self) except -1
    cdef str name_of_innermost(self)
    cdef int yielded(self, object value) except -1
    cdef int ended(self) except -1
    cdef int failed(self, object error) except -1
    cdef int hook_tail(self) except -1
    cdef int turn_back(self, CallOutcome outcome, list tail) except -1
    cdef int go_on(self) except -1
    cdef bint clear(self) except -1
    cdef object hook_request(self, object message)
    cdef object hook_reply(self, object message)
    cdef CallOutcome made(self, int status, str text)
    cdef int forget_outcome(self) except -1
    cdef CallOutcome outcome_of(self, object error)
    cdef object error_of(self, CallOutcome outcome)
    cdef object initial_of(self, CallOutcome outcome)
    cdef object trailing_of(self, CallOutcome outcome)
    cdef str why_not_again(self)
    cdef bint may_answer(self)
    cdef bint call_ended(self) except -1
    cdef int attempt_begins(self) except -1
    cdef int attempt_failed(self, int code, str message) except -1
    cdef int conclude(self, object reply, object error) except -1
    cdef object send_through(self, object request)
    cdef int keep(self, object request) except -1
    cdef int resend(self) except -1
    cdef object hand_over(self, object reply)
    cdef int commit(self) except -1
    cdef bint take_errand(self) except -1
    cdef int pass_errand_on(self) except -1

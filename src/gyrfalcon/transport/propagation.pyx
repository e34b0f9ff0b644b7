"""Calls that are made while another is served: bounded by its deadline, over when it is over.

The call that is served has a `CallScope`, which a context variable carries to whatever its handler
starts: tasks, worker threads. A call that is made there enters the scope, and leaves it when it is
over. Both sides may live in different threads: all that is done to a scope's list is done in one
piece under the interpreter's lock.
"""
cimport cython
from cpython.object cimport PyObject

from .clock cimport Clock
from .waiting cimport Waiting

from ..rpc.propagation import CURRENT

cdef extern from "Python.h":
    int PyContextVar_Get(object var, PyObject *default_value, PyObject **value) except -1
    object PyContextVar_Set(object var, object value)

cdef extern from *:
    """
    static void gyr_release(PyObject *object) { Py_XDECREF(object); }
    """
    void release "gyr_release" (PyObject *object)

cdef object variable = CURRENT
cdef list first_channel_callbacks = []


def at_first_channel(callback):
    """Have `callback()` called when the first channel of the process is made."""
    first_channel_callbacks.append(callback)


cdef int channel_made() except -1:
    """There is a channel: calls that are served have scopes from now on."""
    global has_channels
    if not has_channels:
        has_channels = True
        for callback in first_channel_callbacks:
            callback()
    return 0


cdef int server_made() except -1:
    """There is a server: calls look for scopes from now on."""
    global has_servers
    has_servers = True
    return 0


@cython.no_gc
@cython.freelist(128)
@cython.final
cdef class CallScope:
    """The life of a call that is being served, as calls made within know it.

    It outlives its call with the contexts that hold it, so it holds nothing of the call itself.
    """

    cdef double expiry_by(self, Clock clock) except -1:
        """When calls within must be done, by another clock; 0: any time."""
        if clock is self.clock or not self.expiry:
            return self.expiry
        return clock.now() + max(self.expiry - self.clock.now(), 0.0)

    cdef int add(self, Nested call) except -1:
        call.scope = self
        call.previous_nested = NULL
        call.next_nested = self.first
        if self.first != NULL:
            (<Nested> self.first).previous_nested = <PyObject *> call
        self.first = <PyObject *> call
        return 0

    cdef int remove(self, Nested call) except -1:
        if call.previous_nested != NULL:
            (<Nested> call.previous_nested).next_nested = call.next_nested
        elif self.first == <PyObject *> call:
            self.first = call.next_nested
        else:
            return 0            # it has left
        if call.next_nested != NULL:
            (<Nested> call.next_nested).previous_nested = call.previous_nested
        call.next_nested = call.previous_nested = NULL
        return 0

    cdef int end(self, int code, str message) except -1:
        """The call that was served is over: so are those within."""
        cdef Nested call
        if self.code:
            return 0
        self.code = code
        self.message = message
        while self.first != NULL:
            call = <Nested> self.first
            self.remove(call)
            call.scope_ended(code, message)
        return 0

    cdef object read_metadata(self):
        """The metadata of the call that is served, None when it is over."""
        if self.served == NULL:
            return None
        return (<object> self.served).metadata


cdef class Nested(Waiting):
    """A call that may be made while another is served."""

    cdef int scope_ended(self, int code, str message) except -1:
        """The call that was served is over (any thread)."""
        raise AssertionError("a nested call ends with its scope")


cdef CallScope current_scope():
    """The scope of the call that is being served in the current context, or None."""
    cdef PyObject *value = NULL
    PyContextVar_Get(variable, NULL, &value)
    found = <object> value
    release(value)
    return found


cdef int enter_scope(CallScope scope) except -1:
    """Make it the scope of the current context."""
    PyContextVar_Set(variable, scope)
    return 0

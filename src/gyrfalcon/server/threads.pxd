from .call cimport ServerContext
from .pool cimport Job, Waiter


cdef class ThreadCall(Job):
    cdef ServerContext call
    cdef bint awaited               # by a coroutine; else its end is the end of the call
    cdef object request             # then: the one request
    cdef bint handing_on            # the handler returned what is to be awaited
    cdef object outcome             # the one reply; encoded, where nobody awaits it
    cdef object error
    cdef bint owes_credit           # for requests that the thread took

    cdef int refuse(self, object error) except -1
    cdef object read_request(self)
    cdef object run(self)


cdef class ThreadStream(ThreadCall):
    cdef object replies             # deque, packed
    cdef size_t size                # of them, in bytes
    cdef Waiter putting             # the handler's thread, while it is too far ahead
    cdef list reading               # Waiters of the threads that wait for requests

    cdef int send(self, object replies) except -1
    cdef bint may_put(self) noexcept
    cdef bint put(self, object reply) except -1
    cdef int pump(self) except -1
    cdef int wait_for_requests(self) except -1
    cdef int wake_readers(self) except -1


cdef ThreadCall make_thread_call(ServerContext call)
cdef object await_thread(ServerContext call, ThreadCall job)

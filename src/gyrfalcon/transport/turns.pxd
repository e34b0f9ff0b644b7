# A loop has other connections: one with more work than this, in seconds, goes on after them.
cdef double TURN_SECONDS
# Bytes of messages that a connection inflates before others have their turn.
cdef size_t SHARE


cdef class Turns:
    cdef object resting     # Drivers that had their share, a deque

    cdef int rest(self, object driver) except -1


cdef Turns turns_of(loop)

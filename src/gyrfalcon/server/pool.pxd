from ..transport.driver cimport Driver

cdef extern from "pythread.h":
    ctypedef void *PyThread_type_lock
    PyThread_type_lock PyThread_allocate_lock()
    void PyThread_free_lock(PyThread_type_lock lock)
    int PyThread_acquire_lock(PyThread_type_lock lock, int wait) nogil
    void PyThread_release_lock(PyThread_type_lock lock)
    unsigned long PyThread_get_thread_ident()


cdef class Waiter:
    cdef PyThread_type_lock lock    # held, so that the next to take it waits
    cdef bint waits

    cdef int wait(self) except -1
    cdef int fire(self) except -1


cdef class Job:
    cdef WorkerPool pool
    cdef Driver driver              # the connection that what it did may have something to send on
    cdef bint queued                # it waits for a thread
    cdef bint listed                # the loop was told that it has news
    cdef bint finished              # its thread is done with it

    cdef int claim(self) except -1
    cdef int work(self) except -1
    cdef int settle(self) except -1
    cdef int leave(self) except -1
    cdef int progress(self) except -1


cdef class WorkerPool:
    cdef readonly Py_ssize_t max_workers
    cdef readonly Py_ssize_t max_waiting
    cdef object loop
    cdef unsigned long loop_thread
    cdef object jobs                # deque: what waits, and what has left the queue since it came
    cdef Py_ssize_t waiting         # how many of them wait
    cdef Py_ssize_t busy            # workers that run a job
    cdef list workers
    cdef list idle                  # the last to become idle is the first to be woken
    cdef bint waking                # a worker was woken, and has not looked for a job yet
    cdef bint closed
    cdef list done                  # jobs with news for the loop
    cdef bint notified              # the loop will look
    cdef bint deaf                  # the loop is closed
    cdef object collect_callback
    cdef object __weakref__

    cdef bint put(self, Job job) except -1
    cdef Job take(self)
    cdef int wake_one(self) except -1
    cdef int start_worker(self) except -1
    cdef int forget(self, Job job) except -1
    cdef int sweep(self) except -1
    cdef bint report(self, Job job) except -1
    cdef bint on_loop(self) noexcept
    cdef object call(self, Driver driver, object function, tuple arguments)
    cdef str refusal(self)


cdef class Worker:
    cdef WorkerPool pool
    cdef Waiter waiter
    cdef object thread

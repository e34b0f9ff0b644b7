"""Worker threads for one loop: a queue of jobs under the GIL, and a list of what they have done.

Every field here is guarded by the GIL, and each step between two of its releases is whole: no
Python code runs in it, and nothing that the garbage collector could use to run some is allocated.

Jobs are taken in order. A thread is not woken for each of them: at most one is on its way at any
time, and it wakes the next when it finds more than its own job. So cheap jobs are done by one
thread, one after another, and when a job blocks, which lets go of the GIL, the next thread goes on.
In the same way the loop is told once of all that was done since it last looked; while the threads
keep the processor busy it looks seldom, and finds much.
"""
import atexit
import logging
import threading
import weakref
from collections import deque

cimport cython

from ..transport.driver cimport Driver

log = logging.getLogger("gyrfalcon.server")

# Jobs that have left the queue are swept out when they are more than these and half of it.
cdef Py_ssize_t SWEEP = 64

_pools = weakref.WeakSet()


@cython.freelist(64)
cdef class Waiter:
    """What one thread waits for, once or again and again."""

    def __cinit__(self):
        self.lock = PyThread_allocate_lock()
        if self.lock == NULL:
            raise MemoryError()
        PyThread_acquire_lock(self.lock, 1)

    def __dealloc__(self):
        if self.lock != NULL:
            PyThread_release_lock(self.lock)
            PyThread_free_lock(self.lock)

    cdef int wait(self) except -1:
        """Wait until `fire` (without the GIL)."""
        self.waits = True
        with nogil:
            PyThread_acquire_lock(self.lock, 1)
        return 0

    cdef int fire(self) except -1:
        """Let the thread go on; nothing when none waits."""
        if self.waits:
            self.waits = False
            PyThread_release_lock(self.lock)
        return 0


cdef class Job:
    """Something to be done in a worker thread, with news for the loop when it was."""

    cdef int claim(self) except -1:
        """A worker takes the job out of the queue (thread side)."""
        return 0

    cdef int work(self) except -1:
        """Do it (thread side)."""
        raise AssertionError("a job can be done")

    cdef int settle(self) except -1:
        """The job has news: `finished`, or what its kind has to tell before (loop side)."""
        raise AssertionError("a job is settled")

    cdef int leave(self) except -1:
        """Whoever wanted the job does not any more; nothing when a worker has it (loop side)."""
        raise AssertionError("a job can leave")

    cdef int progress(self) except -1:
        """What the job may wait for has changed (loop side)."""
        return 0


cdef class Errand(Job):
    """A function that a worker thread has the loop call, while it waits."""
    cdef object function
    cdef tuple arguments
    cdef object result
    cdef object error
    cdef Waiter waiter

    cdef int settle(self) except -1:
        try:
            self.result = self.function(*self.arguments)
        except Exception as error:
            self.error = error
        return self.waiter.fire()


cdef class WorkerPool:
    """At most `max_workers` threads, started when they are needed, for the jobs of one loop.

    At most `max_waiting` jobs wait for a thread. Make it and close it in the loop's thread.
    """

    def __init__(self, loop, Py_ssize_t max_workers, Py_ssize_t max_waiting):
        self.loop = loop
        self.loop_thread = PyThread_get_thread_ident()
        self.max_workers = max_workers
        self.max_waiting = max_waiting
        self.jobs = deque()
        self.workers = []
        self.idle = []
        self.done = []
        self.collect_callback = self.collect
        _pools.add(self)

    # ------------------------------------------------------------------ jobs in

    cdef bint put(self, Job job) except -1:
        """Queue a job (loop side). False: it was refused; `refusal` says why."""
        if self.closed or self.waiting >= self.max_waiting + self.max_workers - self.busy:
            return False
        job.pool = self
        job.queued = True
        self.jobs.append(job)
        self.waiting += 1
        self.wake_one()
        if not self.workers:
            # No thread could be started, so nobody else takes from the queue.
            self.jobs.pop()
            job.queued = False
            self.waiting -= 1
            return False
        return True

    cdef str refusal(self):
        """Why a job was refused now."""
        if self.closed:
            return "the server has stopped"
        if not self.workers:
            return "the server cannot start a thread"
        return (f"the server is at its limits: {self.max_workers} threads are busy (max_workers) "
                f"and {self.waiting} calls wait for one (max_waiting_calls={self.max_waiting})")

    cdef Job take(self):
        """The next job that is wanted, or None (thread side)."""
        cdef Job job
        while self.waiting and not self.closed:
            job = self.jobs.popleft()
            if job.queued:
                job.queued = False
                self.waiting -= 1
                self.busy += 1
                job.claim()
                return job
        return None

    cdef int forget(self, Job job) except -1:
        """A job that waits is not wanted any more (loop side)."""
        job.queued = False
        self.waiting -= 1
        if len(self.jobs) > 2 * self.waiting + SWEEP:
            # Whoever cancels calls by the million must not fill the queue with them.
            self.sweep()
        return 0

    cdef int sweep(self) except -1:
        """Take out of the queue what has left it, in place."""
        cdef Job job
        cdef Py_ssize_t _left
        for _left in range(len(self.jobs), 0, -1):
            job = self.jobs.popleft()
            if job.queued:
                self.jobs.append(job)
        return 0

    cdef int wake_one(self) except -1:
        """See to it that a worker looks for a job, unless one is about to."""
        cdef Worker worker
        if self.waking or self.closed:
            return 0
        if self.idle:
            self.waking = True
            worker = self.idle.pop()
            worker.waiter.fire()
        elif len(self.workers) < self.max_workers:
            self.waking = True
            self.start_worker()
        return 0

    cdef int start_worker(self) except -1:
        cdef Worker worker = Worker.__new__(Worker)
        worker.pool = self
        worker.waiter = Waiter.__new__(Waiter)
        self.workers.append(worker)
        # A daemon, because a handler that hangs must not keep the program from its end once the
        # server has given up on it. `end_pools` ends the others in good order.
        worker.thread = threading.Thread(
            target=worker.run, name=f"gyrfalcon_{len(self.workers) - 1}", daemon=True)
        try:
            worker.thread.start()
        except RuntimeError as error:
            self.workers.remove(worker)
            self.waking = False
            log.error("a thread for handlers cannot be started: %s; the server goes on with %d "
                      "instead of max_workers=%d", error, len(self.workers), self.max_workers)
            self.max_workers = max(len(self.workers), 1)
        return 0

    # ------------------------------------------------------------------ news out

    cdef bint report(self, Job job) except -1:
        """Have the loop settle the job (thread side). False: the loop is closed."""
        if not job.listed:
            job.listed = True
            self.done.append(job)
        if not self.notified:
            self.notified = True
            try:
                self.loop.call_soon_threadsafe(self.collect_callback)
            except RuntimeError:
                self.deaf = True
        return not self.deaf

    def collect(self):
        """Settle all jobs that have news, then write what that gave, once for each connection."""
        cdef Job job
        cdef Driver driver
        cdef list drivers = []
        done, self.done = self.done, []
        self.notified = False
        for job in done:
            driver = job.driver
            if not driver.held:
                driver.held += 1
                drivers.append(driver)
            job.listed = False
            try:
                job.settle()
            except Exception:
                log.exception("%r: what a worker thread did is lost: internal error", driver)
        for driver in drivers:
            driver.held -= 1
            try:
                driver.flush_now()
            except Exception:
                log.exception("%r: internal error", driver)

    cdef bint on_loop(self) noexcept:
        """Whether this is the loop's thread."""
        return PyThread_get_thread_ident() == self.loop_thread

    cdef object call(self, Driver driver, object function, tuple arguments):
        """Call a function on the loop and wait for it (thread side)."""
        cdef Errand errand = Errand.__new__(Errand)
        errand.driver = driver
        errand.function = function
        errand.arguments = arguments
        errand.waiter = Waiter.__new__(Waiter)
        if not self.report(errand):
            raise RuntimeError("the server's event loop is closed")
        if errand.listed:
            errand.waiter.wait()
        if errand.error is not None:
            raise errand.error
        return errand.result

    # ------------------------------------------------------------------ the end

    def close(self, *, wait):
        """End the idle threads, and each other one when it is done with its job.

        `wait` until all have ended. What waits for a thread gets none.
        """
        cdef Worker worker
        self.closed = True
        while self.idle:
            worker = self.idle.pop()
            worker.waiter.fire()
        if wait:
            for worker in list(self.workers):
                worker.thread.join()

    def close_idle(self):
        """The same at the end of the program: nobody waits for those that run a job."""
        cdef Worker worker
        cdef list idle = list(self.idle)
        self.close(wait=False)
        for worker in idle:
            worker.thread.join()

    def __repr__(self):
        return (f"<WorkerPool {len(self.workers)} of {self.max_workers} threads, "
                f"{self.busy} busy, {self.waiting} jobs waiting>")


cdef class Worker:
    """One thread of a pool."""

    def run(self):
        """Do jobs until the pool is closed."""
        cdef WorkerPool pool = self.pool
        cdef Job job
        cdef bint woken = True
        while True:
            job = pool.take()
            if woken:
                woken = False
                pool.waking = False
                if job is not None and pool.waiting:
                    # Before this job, because it may block.
                    pool.wake_one()
            if job is None:
                if pool.closed:
                    return
                pool.idle.append(self)
                self.waiter.wait()
                woken = True
                continue
            try:
                job.work()
            except BaseException:
                log.exception("a worker thread failed outside of a handler: internal error")
            pool.busy -= 1
            job.finished = True
            pool.report(job)
            job = None


@atexit.register
def end_pools():
    """End the threads of servers that were not stopped."""
    for pool in list(_pools):
        pool.close_idle()

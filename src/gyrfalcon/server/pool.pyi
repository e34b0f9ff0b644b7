import asyncio
import logging

log: logging.Logger

class Waiter:
    """What one thread waits for, once or again and again."""

class Job:
    """Something to be done in a worker thread, with news for the loop when it was."""

class Errand(Job):
    """A function that a worker thread has the loop call, while it waits."""

class WorkerPool:
    """At most `max_workers` threads, started when they are needed, for the jobs of one loop.

    At most `max_waiting` jobs wait for a thread. Make it and close it in the loop's thread.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, max_workers: int, max_waiting: int
    ) -> None: ...
    @property
    def max_workers(self) -> int: ...
    @property
    def max_waiting(self) -> int: ...
    def collect(self) -> None:
        """Settle all jobs that have news, then write what that gave, once for each connection."""
    def close(self, *, wait: bool) -> None:
        """End the idle threads, and each other one when it is done with its job.

        `wait` until all have ended. What waits for a thread gets none.
        """
    def close_idle(self) -> None:
        """The same at the end of the program: nobody waits for those that run a job."""

class Worker:
    """One thread of a pool."""

    def run(self) -> None:
        """Do jobs until the pool is closed."""

def end_pools() -> None:
    """End the threads of servers that were not stopped."""

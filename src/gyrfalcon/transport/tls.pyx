"""TLS between a transport and the protocol of a connection.

`TlsLayer` is a protocol towards the transport of whatever loop or network, and a transport towards
the driver: bytes are decrypted and encrypted through an `ssl.SSLObject` with a BIO in memory for
each direction. What it holds is bounded: of what comes in at most the part of one record that is
not complete, of what goes out nothing, the transport below has it and says when it is too much.
"""
import asyncio
import logging
import ssl

from cpython.bytearray cimport PyByteArray_AS_STRING
from libc.stdint cimport uint8_t

from .clock cimport Clock
from .driver cimport read_buffer

from ..rpc.quoting import quote
from ..rpc.stats import TlsStats
from .addresses import describe_address
from .certificates import ALPN as _ALPN

log = logging.getLogger("gyrfalcon.transport")

cdef object SSLError = ssl.SSLError
cdef object WantRead = ssl.SSLWantReadError
cdef object CertificateError = ssl.SSLCertVerificationError

# A whole handshake with long chains of certificates on both sides takes less than a tenth of it.
cdef Py_ssize_t MAX_HANDSHAKE_BYTES = 128 * 1024
# Each costs a step of the handshake; a chain of certificates is a few records of 16 KiB.
cdef int MAX_HANDSHAKE_RECORDS = 64
# RFC 8446 5.1: the content types that a handshake begins with.
cdef enum:
    ALERT = 21
    HANDSHAKE = 22
cdef int HEADER = 5
# What is shown of a peer that does not speak TLS.
cdef int SHOWN_BYTES = 24
cdef bytes PREFACE = b"PRI * HTTP/2.0"
# What a client in plaintext gets: a fatal alert, protocol_version, in a record of TLS 1.0 that
# every peer with TLS knows (RFC 8446 5.1, 6).
cdef bytes NO_TLS_ALERT = b"\x15\x03\x01\x00\x02\x02\x46"
# Seconds for a peer to take what was written before a connection that failed is dropped.
cdef double LINGER = 1.0


class TlsError(ConnectionError):
    """TLS could not be agreed on with the peer, or broke."""


class TlsTooSlow(TlsError):
    """TLS was not agreed on in time."""


cdef class HandshakeQueue:
    """Handshakes of a server that wait for their first answer, which is the costly step: its
    signature takes up to a millisecond. One is made in each turn of the loop, so that whatever else
    the loop has to do goes on; the newest goes first, so that a flood delays itself and not who
    comes after it."""
    cdef object loop
    cdef list waiting
    cdef bint scheduled

    def __init__(self, loop):
        self.loop = loop
        self.waiting = []

    cdef int put(self, TlsLayer layer) except -1:
        self.waiting.append(layer)
        if not self.scheduled:
            self.scheduled = True
            self.loop.call_soon(self.answer_next)
        return 0

    def answer_next(self):
        """Answer one, and the next when the loop has turned."""
        cdef TlsLayer layer
        while self.waiting:
            layer = self.waiting.pop()
            if not (layer.lost or layer.closing):
                layer.advance()
                break
        self.scheduled = bool(self.waiting)
        if self.scheduled:
            self.loop.call_soon(self.answer_next)


cdef class TlsLayer:
    """TLS on one connection of one loop.

    `settings` gives the context (certificates.TlsSettings). When TLS is agreed on `make_protocol()`
    is called, and what it returns is connected to this as its transport. `over(layer, error)` is
    called once, when the handshake has ended: without an error before the protocol is made. For a
    server `deadline` is when the handshake has to be over, by the clock, and `queue` paces it; a
    client has a `server_name`, and its owner waits and aborts.
    """
    cdef readonly object loop
    cdef readonly Clock clock
    cdef readonly object transport      # the one below
    cdef readonly object peer_name
    cdef readonly bint established
    cdef readonly bint closing
    cdef readonly bint lost
    cdef object settings
    cdef object make_protocol
    cdef object over
    cdef object server_name
    cdef HandshakeQueue queue
    cdef double deadline
    cdef object timer
    cdef object protocol
    cdef object session             # an ssl.SSLObject
    cdef object read_session        # its methods, bound
    cdef object write_session
    cdef object incoming
    cdef object outgoing
    cdef object buffer
    cdef object view
    cdef uint8_t *data
    cdef Py_ssize_t size            # of the buffer
    cdef object figures
    cdef bint queued
    cdef bint reading               # inside `pull`
    cdef bint peer_closed           # its close_notify came
    cdef object error               # why the connection is lost
    cdef bytes first_bytes
    cdef Py_ssize_t handshake_bytes
    cdef int records
    # of the record that is coming in
    cdef int header_bytes
    cdef Py_ssize_t body_left
    cdef object __weakref__

    def __init__(self, loop, Clock clock not None, settings, make_protocol, over, *,
                 server_name=None, double deadline=-1, HandshakeQueue queue=None):
        self.loop = loop
        self.clock = clock
        self.settings = settings
        self.make_protocol = make_protocol
        self.over = over
        self.server_name = server_name
        self.deadline = deadline
        self.queue = queue
        self.peer_name = "unknown"
        self.first_bytes = b""

    # ------------------------------------------------------------------ asyncio's protocol, below

    def connection_made(self, transport):
        """asyncio: the transport is there."""
        self.transport = transport
        if self.closing:
            transport.abort()
            return
        self.peer_name = describe_address(transport.get_extra_info("peername"))
        self.buffer = read_buffer(self.loop)
        self.view = memoryview(self.buffer)
        self.data = <uint8_t *> PyByteArray_AS_STRING(self.buffer)
        self.size = len(self.buffer)
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        if self.deadline >= 0:
            self.timer = self.clock.call_at(self.loop, self.deadline, self.on_deadline)
        if self.server_name is not None:
            self.advance()

    def get_buffer(self, sizehint):
        """asyncio: where to read to. What is read is copied out of it before it is decrypted into
        the same."""
        return self.buffer

    def buffer_updated(self, Py_ssize_t nbytes):
        """asyncio: so many bytes came."""
        if self.closing or self.lost:
            return
        if not self.established:
            self.shake(nbytes)
            return
        self.incoming.write(self.view[:nbytes])
        self.pull()

    def eof_received(self):
        """asyncio: the peer will send nothing more."""
        return False

    def connection_lost(self, exc):
        """asyncio: the transport is gone."""
        if self.lost:
            return
        self.lost = True
        self.drop_timer()
        protocol, self.protocol = self.protocol, None
        if protocol is not None:
            if self.error is not None:
                exc = self.error
            elif exc is None and not self.closing:
                # Its end may have been cut off by somebody else (RFC 8446 6.1).
                exc = TlsError("the peer closed the connection without TLS's close_notify")
            protocol.connection_lost(exc)
        elif not self.established:
            self.tell(TlsError(str(exc) if exc else "the peer closed the connection"))
        self.read_session = self.write_session = None
        self.make_protocol = None
        self.over = None

    def pause_writing(self):
        """asyncio: the peer takes no more for now."""
        if self.protocol is not None:
            self.protocol.pause_writing()

    def resume_writing(self):
        """asyncio: it does again."""
        if self.protocol is not None:
            self.protocol.resume_writing()

    # ------------------------------------------------------------------ the handshake

    cdef int shake(self, Py_ssize_t nbytes) except -1:
        """Bytes of the handshake came."""
        cdef int complete
        if len(self.first_bytes) < SHOWN_BYTES:
            self.first_bytes += bytes(self.view[:min(nbytes, SHOWN_BYTES - len(self.first_bytes))])
        if self.first_bytes[0] != HANDSHAKE and self.first_bytes[0] != ALERT:
            if PREFACE.startswith(self.first_bytes) and len(self.first_bytes) < len(PREFACE):
                return 0        # the rest of what to show is still to come
            if self.server_name is None:
                self.transport.write(NO_TLS_ALERT)
            return self.fail(self.describe_stranger(), None)
        complete = self.count_records(nbytes)
        self.handshake_bytes += nbytes
        self.incoming.write(self.view[:nbytes])
        if complete and not self.queued:
            if self.queue is not None and self.session is None:
                self.queued = True
                self.queue.put(self)
            else:
                self.advance()
        if self.established or self.closing or self.lost:
            return 0
        if self.handshake_bytes > MAX_HANDSHAKE_BYTES or self.records > MAX_HANDSHAKE_RECORDS:
            return self.fail(
                f"its handshake is over {MAX_HANDSHAKE_BYTES} bytes or "
                f"{MAX_HANDSHAKE_RECORDS} records", None)
        return 0

    cdef int count_records(self, Py_ssize_t nbytes) noexcept:
        """How many records are complete with these bytes. A step of the handshake is made for
        whole records only, however small the pieces are in which they come."""
        cdef Py_ssize_t index = 0, taken
        cdef int complete = 0
        while index < nbytes:
            if self.header_bytes < HEADER:
                self.header_bytes += 1
                if self.header_bytes >= 4:
                    self.body_left = (self.body_left << 8) | self.data[index]
                index += 1
            else:
                taken = min(self.body_left, nbytes - index)
                self.body_left -= taken
                index += taken
            if self.header_bytes == HEADER and self.body_left == 0:
                self.header_bytes = 0
                complete += 1
        self.records += complete
        return complete

    cdef str describe_stranger(self):
        if self.server_name is None:
            if self.first_bytes.startswith(PREFACE):
                return ("it does not speak TLS but HTTP/2 in plaintext: give its channel "
                        "tls=gyrfalcon.ClientTLS(...)")
            return f"it does not speak TLS: it began with {repr(self.first_bytes)[1:]}"
        return (f"the server does not speak TLS, it began with {repr(self.first_bytes)[1:]}: to "
                "call it in plaintext, leave tls= out")

    cdef int advance(self) except -1:
        """Make the step of the handshake that the bytes there allow."""
        self.queued = False
        try:
            if self.session is None:
                self.session = self.settings.context(self.clock.now()).wrap_bio(
                    self.incoming, self.outgoing, server_side=self.server_name is None,
                    server_hostname=self.server_name)
            self.session.do_handshake()
        except WantRead:
            return self.send()
        except CertificateError as error:
            self.send()
            whose = "client" if self.server_name is None else "server"
            return self.fail(
                f"the certificate of the {whose} does not hold: {error.verify_message}", error)
        except (SSLError, ValueError) as error:
            self.send()
            return self.fail(describe_failure(error), error)
        self.send()
        agreed = self.session.selected_alpn_protocol()
        if agreed != _ALPN:
            what = "nothing" if agreed is None else repr(agreed)
            return self.fail(
                f"{_ALPN!r} is needed as the protocol (ALPN), and {what} was agreed on", None)
        return self.begin()

    cdef int begin(self) except -1:
        """TLS is agreed on: connect the protocol."""
        self.drop_timer()
        self.established = True
        self.read_session = self.session.read
        self.write_session = self.session.write
        self.first_bytes = b""
        self.tell(None)
        if self.closing or self.lost:
            return 0
        protocol = self.make_protocol()
        self.make_protocol = None
        if protocol is None:
            self.abort()
            return 0
        self.protocol = protocol
        protocol.connection_made(self)
        if self.incoming.pending:
            self.pull()
        return 0

    cdef int tell(self, object error) except -1:
        """Tell the owner that the handshake is over."""
        over, self.over = self.over, None
        if over is not None:
            over(self, error)
        return 0

    cdef int fail(self, str reason, object cause) except -1:
        """Give the handshake up."""
        error = TlsError(quote(reason))
        error.__cause__ = cause
        self.closing = True
        self.tell(error)
        return self.hang_up()

    cdef int hang_up(self) except -1:
        """Close the transport below, soon also where the peer does not take what was written."""
        self.drop_timer()
        if self.lost:
            return 0
        self.timer = self.clock.call_later(self.loop, LINGER, self.on_linger)
        self.transport.close()
        return 0

    def on_linger(self):
        """The peer had time to take the alert."""
        self.timer = None
        if not self.lost:
            self.transport.abort()

    def on_deadline(self):
        """The handshake takes too long."""
        self.timer = None
        if not (self.established or self.closing or self.lost):
            self.closing = True
            self.tell(TlsTooSlow("it did not end in time"))
            self.transport.abort()

    cdef int drop_timer(self) except -1:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        return 0

    # ------------------------------------------------------------------ bytes

    cdef int pull(self) except -1:
        """Decrypt what is there, and hand it over."""
        cdef Py_ssize_t filled, got
        cdef bint drained = False
        cdef object failure = None
        if self.reading:
            return 0            # what runs in the protocol has let the loop turn: it goes on below
        self.reading = True
        try:
            while not drained:
                filled = 0
                try:
                    while filled < self.size:
                        got = self.read_session(
                            self.size - filled, self.view[filled:] if filled else self.view)
                        if got == 0:
                            self.peer_closed = drained = True
                            break
                        filled += got
                        # A record that did not fit is not looked for in here: the rest of it is in
                        # the session.
                        if filled < self.size and not self.incoming.pending:
                            drained = True
                            break
                except WantRead:
                    drained = True
                except SSLError as error:
                    failure = error
                    drained = True
                if filled:
                    self.protocol.buffer_updated(filled)
                if self.lost or self.closing:
                    return 0
                if failure is not None:
                    return self.broken(failure)
        finally:
            self.reading = False
        if self.outgoing.pending:
            self.send()
        if self.peer_closed:
            self.protocol.eof_received()
            self.close()
        return 0

    cdef int send(self) except -1:
        """Hand to the transport what was encrypted."""
        cdef bytes output = self.outgoing.read()
        if output and not self.lost:
            self.transport.write(output)
        return 0

    cdef int broken(self, object error) except -1:
        """The peer sent what is no TLS, or an alert: the connection is lost."""
        reason = quote(describe_failure(error))
        log.info("%s: TLS broke: %s", self.peer_name, reason)
        self.error = TlsError(f"TLS broke: {reason}")
        self.error.__cause__ = error
        self.send()
        self.closing = True
        return self.hang_up()

    # ------------------------------------------------------------------ asyncio's transport, above

    def write(self, data):
        """Encrypt and send bytes."""
        cdef Py_ssize_t size, done
        if self.closing or self.lost:
            return
        size = len(data)
        try:
            done = self.write_session(data)
            if done < size:
                # OpenSSL takes a record at a time.
                view = memoryview(data)
                while done < size:
                    done += <Py_ssize_t> self.write_session(view[done:])
        except SSLError as error:
            self.broken(error)
            return
        self.send()

    def writelines(self, pieces):
        """Encrypt and send bytes."""
        self.write(b"".join(pieces))

    def close(self):
        """Close after what was written, with TLS's close_notify."""
        if self.closing:
            return
        self.closing = True
        if self.established and not self.lost:
            try:
                self.session.unwrap()
            except SSLError:
                pass        # the peer's close_notify is not waited for
            self.send()
        if self.transport is not None:
            self.transport.close()

    def abort(self):
        """Close now."""
        self.closing = True
        if self.transport is not None and not self.lost:
            self.transport.abort()

    def is_closing(self):
        """Whether it was closed."""
        return self.closing

    def get_extra_info(self, name, default=None):
        """As asyncio's TLS transports: "ssl_object", "peercert", "cipher"; "tls": TlsStats; and
        what the transport below knows."""
        if self.session is not None:
            if name == "ssl_object":
                return self.session
            if name == "peercert":
                return self.session.getpeercert()
            if name == "cipher":
                return self.session.cipher()
            if name == "tls":
                return self.stats()
        return self.transport.get_extra_info(name, default)

    def stats(self):
        """What was agreed on, as rpc.stats.TlsStats."""
        if self.figures is None:
            cipher = self.session.cipher()
            self.figures = TlsStats(
                version=self.session.version() or "",
                cipher=cipher[0] if cipher else "",
                local_certificate=self.settings.local_certificate,
                remote_certificate=self.session.getpeercert(binary_form=True) or b"",
            )
        return self.figures

    def pause_reading(self):
        """Let what comes wait in the socket."""
        self.transport.pause_reading()

    def resume_reading(self):
        """Read again."""
        self.transport.resume_reading()

    def is_reading(self):
        """Whether what comes is read."""
        return self.transport.is_reading()

    def get_write_buffer_size(self):
        """Bytes that the socket did not take yet, encrypted."""
        return self.transport.get_write_buffer_size()

    def get_write_buffer_limits(self):
        """The marks at which the protocol is told to go on and to wait."""
        return self.transport.get_write_buffer_limits()

    def set_write_buffer_limits(self, high=None, low=None):
        """Set them."""
        self.transport.set_write_buffer_limits(high, low)

    def can_write_eof(self):
        """TLS has no half-closed connections here."""
        return False

    def get_protocol(self):
        """The protocol that uses it; None before TLS is agreed on."""
        return self.protocol

    def set_protocol(self, protocol):
        """Have another protocol use it."""
        self.protocol = protocol

    def __repr__(self):
        state = "closing" if self.closing else "open" if self.established else "in its handshake"
        return f"<{type(self).__name__} peer={self.peer_name} {state}>"


cdef str describe_failure(error):
    """What OpenSSL says, in words that say who did what."""
    reason = getattr(error, "reason", None)
    if reason is None:
        return f"{type(error).__name__}: {error}"
    text = reason.replace("_", " ").lower()
    if "ALERT" in reason:
        return f"the peer refused: {text}"
    if reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return "the client showed no certificate, and one is required"
    return text


class TlsProtocol(TlsLayer, asyncio.BufferedProtocol):
    """A TlsLayer as asyncio wants protocols to be."""

    __slots__ = ()

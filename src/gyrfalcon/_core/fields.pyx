"""Header fields: those to send (`Fields`) and those that came (`HeaderBlock`)."""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy

from .nghttp2 cimport (
    NGHTTP2_NV_FLAG_NO_COPY_NAME,
    NGHTTP2_NV_FLAG_NO_COPY_VALUE,
    NGHTTP2_NV_FLAG_NO_INDEX,
    nghttp2_nv,
    nghttp2_rcbuf,
    nghttp2_rcbuf_decref,
    nghttp2_rcbuf_get_buf,
    nghttp2_rcbuf_incref,
    nghttp2_vec,
)


cdef int check_value(bytes name, bytes value) except -1:
    """RFC 9113 8.2.1 calls these malformed in a value; libnghttp2 sends what it is given."""
    if value is not None and (b"\0" in value or b"\r" in value or b"\n" in value):
        raise ValueError(f"header {name!r}: the value {value!r} has a NUL, CR or LF in it; "
                         "send it under a key that ends in -bin")
    return 0


cdef class Fields:
    """Header fields to send, in order: pairs of `bytes`, names in lower case.

    Their bytes are not copied again when they are sent, so one object may serve any number of
    streams; whoever sends it keeps it alive. Treat it as immutable from the first use on.
    """

    def __cinit__(self):
        self.keep = []

    def __init__(self, pairs=(), *, bint index=True):
        """`index=False` keeps the values out of the peer's HPACK table
        (values that differ each time)."""
        cdef uint8_t flags = 0 if index else NGHTTP2_NV_FLAG_NO_INDEX
        for name, value in pairs:
            check_value(name, value)
            self.append(name, value, flags)

    def __dealloc__(self):
        free(self.items)

    cdef int append(self, bytes name, bytes value, uint8_t flags) except -1:
        cdef nghttp2_nv *item
        cdef Py_ssize_t capacity
        if not name:
            raise ValueError("a header field needs a name")
        if value is None:
            raise TypeError(f"header {name!r}: the value is None, not bytes")
        if self.count == self.capacity:
            capacity = self.capacity * 2 if self.capacity else 8
            item = <nghttp2_nv *> realloc(self.items, capacity * sizeof(nghttp2_nv))
            if item == NULL:
                raise MemoryError()
            self.items = item
            self.capacity = capacity
        item = &self.items[self.count]
        item.name = <uint8_t *> PyBytes_AS_STRING(name)
        item.namelen = PyBytes_GET_SIZE(name)
        item.value = <uint8_t *> PyBytes_AS_STRING(value)
        item.valuelen = PyBytes_GET_SIZE(value)
        item.flags = flags | NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE
        self.keep.append(name)
        self.keep.append(value)
        self.count += 1
        return 0

    cdef int extend(self, Fields others) except -1:
        cdef Py_ssize_t index
        for index in range(others.count):
            self.append(others.keep[2 * index], others.keep[2 * index + 1],
                        others.items[index].flags & NGHTTP2_NV_FLAG_NO_INDEX)
        return 0

    def add(self, bytes name not None, bytes value not None, *, bint index=True):
        """Append one field. ValueError when the value has NUL, CR or LF in it."""
        check_value(name, value)
        self.append(name, value, 0 if index else NGHTTP2_NV_FLAG_NO_INDEX)

    def pairs(self):
        """The fields as a list of (name, value)."""
        return list(zip(self.keep[::2], self.keep[1::2]))

    def __repr__(self):
        return f"Fields({self.pairs()!r})"


cdef class HeaderBlock:
    """One block of header fields that came from the peer: `pairs()`, `get(name)`, `count`, `size`.

    `size` counts as SETTINGS_MAX_HEADER_LIST_SIZE does: name + value + 32 for each field.
    """

    def __cinit__(self):
        self.items = self.first
        self.capacity = 14

    def __dealloc__(self):
        cdef Py_ssize_t index
        for index in range(self.count):
            nghttp2_rcbuf_decref(self.items[index].name)
            nghttp2_rcbuf_decref(self.items[index].value)
        if self.items != self.first:
            free(self.items)

    cdef int append(self, nghttp2_rcbuf *name, nghttp2_rcbuf *value) except -1:
        cdef Field *items
        if self.count == self.capacity:
            items = <Field *> malloc(2 * self.capacity * sizeof(Field))
            if items == NULL:
                raise MemoryError()
            memcpy(items, self.items, self.count * sizeof(Field))
            if self.items != self.first:
                free(self.items)
            self.items = items
            self.capacity *= 2
        nghttp2_rcbuf_incref(name)
        nghttp2_rcbuf_incref(value)
        self.items[self.count].name = name
        self.items[self.count].value = value
        self.count += 1
        return 0

    cdef Py_ssize_t find(self, const char *name, size_t length) noexcept:
        """The index of the first field of that name, or -1."""
        cdef Py_ssize_t index
        cdef nghttp2_vec have
        for index in range(self.count):
            have = nghttp2_rcbuf_get_buf(self.items[index].name)
            if have.len == length and memcmp(have.base, name, length) == 0:
                return index
        return -1

    cdef nghttp2_vec name_view(self, Py_ssize_t index) noexcept:
        return nghttp2_rcbuf_get_buf(self.items[index].name)

    cdef nghttp2_vec value_view(self, Py_ssize_t index) noexcept:
        return nghttp2_rcbuf_get_buf(self.items[index].value)

    cdef bytes name_at(self, Py_ssize_t index):
        cdef nghttp2_vec have = nghttp2_rcbuf_get_buf(self.items[index].name)
        return PyBytes_FromStringAndSize(<char *> have.base, have.len)

    cdef bytes value_at(self, Py_ssize_t index):
        cdef nghttp2_vec have = nghttp2_rcbuf_get_buf(self.items[index].value)
        return PyBytes_FromStringAndSize(<char *> have.base, have.len)

    def get(self, bytes name not None):
        """The first value of that name, or None."""
        cdef Py_ssize_t index = self.find(name, len(name))
        return None if index < 0 else self.value_at(index)

    def pairs(self):
        """The fields as a list of (name, value), pseudo-headers included,
        in the order they came."""
        return [(self.name_at(index), self.value_at(index)) for index in range(self.count)]

    def __repr__(self):
        return f"HeaderBlock({self.pairs()!r})"


cdef class ValueCache:
    """What was found for a header value that came before on this connection.

    Comparing a few bytes is cheaper than making a `bytes` of them and hashing it; a value that the
    peer keeps in its HPACK table even comes in the same buffer. Eight values, the oldest goes
    first.
    """

    def __cinit__(self):
        self.found = [None] * 8

    def __dealloc__(self):
        cdef int slot
        for slot in range(8):
            if self.keys[slot] != NULL:
                nghttp2_rcbuf_decref(self.keys[slot])

    cdef object get(self, HeaderBlock block, Py_ssize_t index):
        """What was put for this value, or None."""
        cdef nghttp2_rcbuf *key = block.items[index].value
        cdef nghttp2_vec have, want
        cdef int slot
        want = nghttp2_rcbuf_get_buf(key)
        for slot in range(8):
            if self.keys[slot] == NULL:
                break
            if self.keys[slot] == key:
                return self.found[slot]
            have = nghttp2_rcbuf_get_buf(self.keys[slot])
            if have.len == want.len and memcmp(have.base, want.base, want.len) == 0:
                return self.found[slot]
        return None

    cdef int put(self, HeaderBlock block, Py_ssize_t index, object found) except -1:
        cdef int slot = self.next
        self.next = (slot + 1) & 7
        if self.keys[slot] != NULL:
            nghttp2_rcbuf_decref(self.keys[slot])
        nghttp2_rcbuf_incref(block.items[index].value)
        self.keys[slot] = block.items[index].value
        self.found[slot] = found
        return 0

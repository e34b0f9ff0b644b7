"""Texts of gRPC's header fields: `grpc-timeout`, `grpc-message`, and `-bin` values.

Rules: gRPC PROTOCOL-HTTP2, "Requests" and "Responses".
"""
import re
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.math cimport ceil
from libc.stdint cimport uint8_t

# What `grpc-message` does not carry as it is: all but 0x20 to 0x7E, '%', and a blank at either end,
# which RFC 9113 8.2.1 forbids in a field value.
ESCAPED = re.compile(rb"[^ -$&-~]|^ | $")
PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")


cdef double parse_timeout_text(const uint8_t *text, size_t length) noexcept:
    cdef double value = 0
    cdef size_t index
    cdef uint8_t unit
    if length < 2 or length > 9:
        return -1
    for index in range(length - 1):
        if text[index] < c"0" or text[index] > c"9":
            return -1
        value = value * 10 + (text[index] - c"0")
    unit = text[length - 1]
    if unit == c"m":
        return value / 1e3
    if unit == c"u":
        return value / 1e6
    if unit == c"n":
        return value / 1e9
    if unit == c"S":
        return value
    if unit == c"M":
        return value * 60
    if unit == c"H":
        return value * 3600
    return -1


def parse_timeout(bytes text not None):
    """Seconds of a `grpc-timeout` value;
    ValueError when it is not 1 to 8 digits and one of HMSmun."""
    cdef double seconds = parse_timeout_text(
        <const uint8_t *> PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
    if seconds < 0:
        raise ValueError(
            f"grpc-timeout {text!r} is not 1 to 8 digits and one of the units H M S m u n")
    return seconds


cpdef bytes format_timeout(double seconds):
    """A `grpc-timeout` value for so many seconds, rounded up; below zero it is zero."""
    cdef double count
    if not seconds > 0:
        return b"0n"
    # The finest unit that stays readable in a trace and fits eight digits.
    count = ceil(seconds * 1e6)
    if count < 1e8:
        if count >= 1e5:
            return b"%dm" % <long long> ceil(seconds * 1e3)
        return b"%du" % <long long> count
    count = ceil(seconds * 1e3)
    if count < 1e8:
        return b"%dm" % <long long> count
    count = ceil(seconds)
    if count < 1e8:
        return b"%dS" % <long long> count
    count = ceil(seconds / 3600)
    return b"%dH" % <long long> min(count, 99999999.0)


def escape_byte(match):
    return b"%%%02X" % match[0][0]


def unescape_byte(match):
    return bytes((int(match[1], 16),))


cpdef bytes encode_text(str text, Py_ssize_t limit=0):
    """A status message as `grpc-message` carries it: UTF-8, percent-encoded.

    `limit` above zero cuts it to so many bytes, at a character.
    """
    cdef bytes data = text.encode("utf-8", "replace")
    cdef bytes encoded = ESCAPED.sub(escape_byte, data)
    if limit <= 0 or len(encoded) <= limit:
        return encoded
    # Worst case three bytes for one: halve the text until it fits.
    while len(encoded) > limit - 3:
        text = text[:min(len(text) * 3 // 4, max(limit - 3, 0))]
        encoded = ESCAPED.sub(escape_byte, text.encode("utf-8", "replace"))
        if not text:
            break
    return encoded + b"..."


cpdef str decode_text(bytes data):
    """A status message from `grpc-message`; never fails: what is no escape stays as it is."""
    if b"%" in data:
        data = PERCENT.sub(unescape_byte, data)
    return data.decode("utf-8", "replace")


def encode_binary(bytes value not None):
    """A `-bin` value as it is sent: base64 without padding."""
    return b2a_base64(value, newline=False).rstrip(b"=")


def decode_binary(bytes text not None):
    """The values of one `-bin` field: base64, padded or not, several joined by commas.

    ValueError when it is not base64.
    """
    return [decode_one_binary(part) for part in text.split(b",")]


cdef bytes decode_one_binary(bytes text):
    cdef bytes stripped = text.strip().rstrip(b"=")
    cdef Py_ssize_t rest = len(stripped) % 4
    if rest == 1:
        raise ValueError(f"{text[:64]!r} is not base64")
    try:
        return a2b_base64(stripped + b"=" * (-len(stripped) % 4), strict_mode=True)
    except Base64Error as error:
        raise ValueError(f"{text[:64]!r} is not base64: {error}") from None

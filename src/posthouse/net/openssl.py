"""Two things that OpenSSL can do and CPython's `ssl` does not offer (decision 0104): exported keying material of a
connection (RFC 5705 §4), and a handshake that goes on although the client's certificate is not good.

`ssl` keeps a pointer to OpenSSL's own object in its C object. `pointer` reads it, once it has seen that this C object
is laid out as is known: its neighbour must be the context that `ssl` itself names. Everything else is public functions
of the libssl that `ssl` is linked with. Where anything is not as expected (another Python, a libssl linked statically)
the answer is None or False, and what needs it is not offered.
"""

import ctypes
import functools
import ssl
import sys
from collections.abc import Callable
from typing import Any

_HEAD = 2 * ctypes.sizeof(ctypes.c_void_p)  # PyObject_HEAD: reference count and type
# PySSLSocket of CPython 3.11 to 3.13, behind its head: PyObject *Socket, SSL *ssl, PySSLContext *ctx.
_SSL, _CONTEXT, _WORDS = 1, 2, 3
_KNOWN = ((3, 11), (3, 13))
_GET_EXTMS_SUPPORT = 122  # SSL_CTRL_GET_EXTMS_SUPPORT of openssl/ssl.h
_VERIFY_PEER = 1  # SSL_VERIFY_PEER
_GOOD = 0  # X509_V_OK

_VerifyCallback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p)


@functools.cache
def _library() -> ctypes.CDLL | None:
    """The libssl of this Python's `ssl`: found through the module, so that it is no other."""
    import _ssl

    if sys.implementation.name != "cpython" or not _KNOWN[0] <= sys.version_info[:2] <= _KNOWN[1]:
        return None
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return None  # objects have another head there
    try:
        library = ctypes.CDLL(getattr(_ssl, "__file__", None))
        library.SSL_export_keying_material.restype = ctypes.c_int
        library.SSL_ctrl.restype = ctypes.c_long
        library.SSL_get_verify_result.restype = ctypes.c_long
        library.SSL_get_SSL_CTX.restype = ctypes.c_void_p
        library.SSL_CTX_set_verify.restype = None
        library.ERR_clear_error.restype = None
    except (OSError, AttributeError):
        return None
    return library


def pointer(session: ssl.SSLObject) -> ctypes.c_void_p | None:
    """OpenSSL's SSL of a TLS connection; None where it cannot be told."""
    inner: Any = getattr(session, "_sslobj", None)
    words = ctypes.c_void_p * _WORDS
    if inner is None or _library() is None or type(inner).__basicsize__ < _HEAD + ctypes.sizeof(words):
        return None
    found = words.from_address(id(inner) + _HEAD)
    if found[_CONTEXT] != id(session.context) or not found[_SSL]:
        return None
    return ctypes.c_void_p(found[_SSL])


def exported(session: ssl.SSLObject, label: bytes, octets: int) -> bytes | None:
    """Keying material of the connection for a label, without context (RFC 5705 §4, RFC 8446 §7.5)."""
    library, ours = _library(), pointer(session)
    if library is None or ours is None:
        return None
    out = ctypes.create_string_buffer(octets)
    size = ctypes.c_size_t
    made = library.SSL_export_keying_material(
        ours, out, size(octets), label, size(len(label)), None, size(0), ctypes.c_int(0)
    )
    return out.raw if made == 1 else None


def has_extended_master_secret(session: ssl.SSLObject) -> bool:
    """Whether the master secret depends on the whole handshake (RFC 7627 §4)."""
    library, ours = _library(), pointer(session)
    if library is None or ours is None:
        return False
    return bool(library.SSL_ctrl(ours, ctypes.c_int(_GET_EXTMS_SUPPORT), ctypes.c_long(0), None) == 1)


def certificate_good(session: ssl.SSLObject) -> bool:
    """What OpenSSL has found of the peer's certificate; False where it cannot be told. True also where the peer has
    shown none."""
    library, ours = _library(), pointer(session)
    if library is None or ours is None:
        return False
    return bool(library.SSL_get_verify_result(ours) == _GOOD)


def _go_on(good: int, store: int | None) -> int:
    """Asked about each certificate of a chain. What was wrong with a signature stands in OpenSSL's list of errors,
    where the next read from the connection would find it and take it for its own."""
    library = _library()
    if not good and library is not None:
        library.ERR_clear_error()
    return 1


_GO_ON: Callable[..., Any] = _VerifyCallback(_go_on)  # kept for ever: OpenSSL calls it


def never_refuse_certificates(context: ssl.SSLContext) -> bool:
    """Ask clients for a certificate, and let the handshake go on whatever is wrong with it: `certificate_good` tells.
    False where that cannot be had; then the context is as it was."""
    library = _library()
    session = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)  # named: OpenSSL's SSL goes with it
    ours = pointer(session)
    if library is None or ours is None:
        return False
    inside = ctypes.c_void_p(library.SSL_get_SSL_CTX(ours))
    library.SSL_CTX_set_verify(inside, ctypes.c_int(_VERIFY_PEER), _GO_ON)
    return True

"""Check that n8n's key decrypts its credentials. Their content isn't passed on.

n8n encrypts with CryptoJS, in the format of OpenSSL: `Salted__`, 8 bytes of salt, AES-256-CBC;
key and initialization vector are MD5 digests of passphrase and salt (EVP_BytesToKey).
"""

from __future__ import annotations

import base64
import hashlib
import json

_MAGIC = b"Salted__"
_SALT = 8
_KEY, _IV = 32, 16


def decrypts(text: str, passphrase: str) -> bool:
    """Return whether ``text``, as n8n stores it, decrypts to a JSON object with a passphrase."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    try:
        stored = base64.b64decode(text, validate=True)
    except ValueError:
        return False
    salt, content = stored[len(_MAGIC) : len(_MAGIC) + _SALT], stored[len(_MAGIC) + _SALT :]
    if not stored.startswith(_MAGIC) or not content or len(content) % _IV:
        return False
    key, iv = derived(passphrase.encode(), salt)
    decryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    plain = decryptor.update(content) + decryptor.finalize()
    padding = plain[-1]
    if not 1 <= padding <= _IV or plain[-padding:] != bytes([padding]) * padding:
        return False
    try:
        return isinstance(json.loads(plain[:-padding]), dict)
    except ValueError:
        return False


def derived(passphrase: bytes, salt: bytes) -> tuple[bytes, bytes]:
    """Return key and initialization vector, derived as by OpenSSL's EVP_BytesToKey with MD5."""
    material = block = b""
    while len(material) < _KEY + _IV:
        # The format requires MD5.
        block = hashlib.md5(block + passphrase + salt).digest()  # noqa: S324
        material += block
    return material[:_KEY], material[_KEY : _KEY + _IV]

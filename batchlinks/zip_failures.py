"""What goes wrong with a ZIP file from outside, whichever of its readers complains."""

import lzma
import zipfile
import zlib

ZIP_FAILURES = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,  # how zipfile says that it does not know a method of compression
    RuntimeError,  # and that an entry is encrypted
    OSError,
    ValueError,
)
"""All that `zipfile` and what it decompresses with were seen to raise for damaged, encrypted and hostile files."""

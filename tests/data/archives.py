"""Archives as somebody might make them to deceive; none of this is ever extracted."""

import io
import stat
import tarfile
import zipfile


def tar(members, mode="w", types=None):
    """A tar of ``members``: name -> bytes; ``types``: name -> what it is instead of a file (it leads to /etc/passwd)."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            if types and name in types:
                info.type, info.linkname = types[name], "/etc/passwd"
            else:
                info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return packed.getvalue()


def zipped(members, modes=None):
    """A zip of ``members``: name -> bytes; ``modes``: name -> mode of the file on a Unix system."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo("placeholder")
            info.filename = name  # the constructor tidies separators up
            info.external_attr = (modes or {}).get(name, stat.S_IFREG | 0o644) << 16
            archive.writestr(info, data, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def encrypted(packed):
    """A zip whose only member is said to be encrypted."""
    data = bytearray(packed)
    for signature, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(signature) + place] |= 1
    return bytes(data)

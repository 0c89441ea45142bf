import hashlib
import re
from pathlib import Path

import service.web.pages

VENDOR = Path(service.web.pages.__file__).parent / "static" / "vendor"


def test_vendored_files_are_the_ones_listed_and_bring_their_licences() -> None:
    listed = re.findall(
        r"^\S+ [\d.]+ +(\S+) +([0-9a-f]{64}) .*\((\S+)\)$",
        (VENDOR / "VERSIONS").read_text(),
        re.MULTILINE,
    )
    for name, sum_, licence in listed:
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == sum_
        assert (VENDOR / licence).stat().st_size > 400
    known = {"VERSIONS", *(row[0] for row in listed), *(row[2] for row in listed)}
    assert {path.name for path in VENDOR.iterdir()} == known

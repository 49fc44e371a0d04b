# SPDX-License-Identifier: Apache-2.0
"""Print the command of the README's Nth console block."""

import pathlib
import re
import sys

text = pathlib.Path("README.rst").read_text(encoding="utf-8")
blocks = re.findall(r"\.\. code-block:: console\n\n((?:   .*\n)+)", text)
print(re.sub("(?m)^   ", "", blocks[int(sys.argv[1]) - 1]).strip())

# SPDX-License-Identifier: Apache-2.0
import sys

import setuptools

# Many pips look for the requirements first, and name one that they don't find.
if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit(
        "images_service needs Python 3.11 or newer; this is Python "
        + ".".join(map(str, sys.version_info[:3]))
    )
setuptools.setup(pbr=True)

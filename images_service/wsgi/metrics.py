# SPDX-License-Identifier: Apache-2.0
"""The metrics of a server's processes, for any WSGI server."""

from images_service.middleware import metrics

application = metrics.application()

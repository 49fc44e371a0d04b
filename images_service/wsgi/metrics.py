# SPDX-License-Identifier: Apache-2.0
"""What the processes of a server count, for any WSGI server."""

from images_service.middleware import metrics

application = metrics.application()

# SPDX-License-Identifier: Apache-2.0
"""What the processes of a server count, for any WSGI server."""

from prometheus_client import make_wsgi_app

from images_service import metrics

application = make_wsgi_app(metrics.together())

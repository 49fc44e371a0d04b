# SPDX-License-Identifier: Apache-2.0
"""The application, for any WSGI server: ``images_service.wsgi.api``."""

from images_service import app

application = app.create()

# SPDX-License-Identifier: Apache-2.0
"""The HTTP API: routes, controllers, schemas and views."""

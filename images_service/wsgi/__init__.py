# SPDX-License-Identifier: Apache-2.0
"""Applications and filters that WSGI servers load."""

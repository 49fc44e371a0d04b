# SPDX-License-Identifier: Apache-2.0
"""WSGI filters, one concern each."""

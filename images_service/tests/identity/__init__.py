# SPDX-License-Identifier: Apache-2.0
"""Tests behind a real Keystone, and with real clients."""

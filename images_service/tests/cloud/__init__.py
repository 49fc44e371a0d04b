# SPDX-License-Identifier: Apache-2.0
"""Tests of the mirror, in front of a real Glance."""

# SPDX-License-Identifier: Apache-2.0
"""Tests that start database servers of their own, and kill them."""

# SPDX-License-Identifier: Apache-2.0
"""The image part of an OpenStack compute endpoint, from its own store."""

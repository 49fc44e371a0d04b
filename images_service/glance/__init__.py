# SPDX-License-Identifier: Apache-2.0
"""The cloud's Glance, which owns the images: its client, and the mirror."""

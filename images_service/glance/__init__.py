# SPDX-License-Identifier: Apache-2.0
"""The cloud's Glance, which owns the images: what it says, and the mirror."""

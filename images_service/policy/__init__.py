# SPDX-License-Identifier: Apache-2.0
"""Policy: the rules, and the class that decides by them."""

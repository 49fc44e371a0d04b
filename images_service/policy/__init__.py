# SPDX-License-Identifier: Apache-2.0
"""Who may do what: the rules and the class that is asked."""

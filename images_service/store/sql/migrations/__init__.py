# SPDX-License-Identifier: Apache-2.0
"""The alembic history of the schema."""

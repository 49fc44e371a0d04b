# SPDX-License-Identifier: Apache-2.0
"""Tests of images_service.cmd."""

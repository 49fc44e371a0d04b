# SPDX-License-Identifier: Apache-2.0
"""Notifications of oslo.messaging, as a consumer gets them."""

import oslo_messaging


def listen(test, conf, url, endpoint):
    """Pass notifications to an endpoint until a test ends.

    :param conf: its ConfigOpts.
    :param url: of the broker.
    """
    listener = oslo_messaging.get_notification_listener(
        oslo_messaging.get_notification_transport(conf, url=url),
        [oslo_messaging.Target(topic="notifications")],
        [endpoint],
        executor="threading",
    )
    listener.start()
    test.addCleanup(listener.wait)
    test.addCleanup(listener.stop)

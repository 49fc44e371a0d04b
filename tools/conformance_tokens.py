# SPDX-License-Identifier: Apache-2.0
"""Print the tokens that the recorded cases use with a stub of Keystone.

The argument is the folder that holds the cases and the users they name.
"""

import json
import sys

sys.path.insert(0, sys.argv[1])

from run import USERS

tokens = {}
for name, (user_id, project_id, roles) in USERS.items():
    if roles is not None:
        tokens[name] = [user_id, project_id, roles.split(",")]
    elif name == "unscoped":
        tokens[name] = [user_id, None, []]
print(json.dumps(tokens))

"""Measurements of speed, memory and quality; each module is a program.

They run on one machine, so importing this package removes the proxies from the environment.
"""

import os

for _name in [name for name in os.environ if name.lower().endswith("_proxy")]:
    del os.environ[_name]

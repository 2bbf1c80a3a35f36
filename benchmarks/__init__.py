"""What is measured talks to this machine alone: no proxy that the environment names is asked."""

import os

for _name in [name for name in os.environ if name.lower().endswith("_proxy")]:
    del os.environ[_name]

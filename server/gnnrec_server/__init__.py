"""The server, in rooms.

Each imports only itself and those that come after it: main and workers, settings, front, rpc, load,
rollout, trials, query, version, index, telemetry, process, errors.
"""

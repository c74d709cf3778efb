"""A process that asks for a server, prints what it got as JSON, and holds it until its standard input ends.

Arguments: spec, provider, run directory, cache directory, data directory, and any of ``private``, ``keep``,
``database`` (create one), ``kill`` (a private server, at once), ``fork`` (leave a child that lives on).
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from pytest_aistorage.servers import PrivateServer, ServerOptions, ServerSpec, private_server, shared_server


def main() -> None:
    """Do what the arguments say."""
    spec, provider, run_dir, cache_dir, data_dir, *more = sys.argv[1:]
    parsed = ServerSpec.parse(spec)
    options = ServerOptions(
        run_dir=Path(run_dir),
        cache_dir=Path(cache_dir),
        data_dir=Path(data_dir),
        providers={parsed.kind: (provider,)},
        keep="keep" in more,
    )
    server = private_server(parsed, options) if "private" in more else shared_server(parsed, options)
    said = {"url": server.url, "version": server.version, "provider": server.provider, "uid": os.getuid()}
    if "database" in more:
        said["database"] = server.create_database()
    if "pause" in more and isinstance(server, PrivateServer):
        server.pause()
    if "fork" in more and os.fork() == 0:
        os.close(1)
        time.sleep(120)
        os._exit(0)
    print(json.dumps(said), flush=True)
    sys.stdin.read()
    server.close()


if __name__ == "__main__":
    main()

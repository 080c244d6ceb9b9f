"""The smallest app worth pushing: it greets, and tells which job of which release answered.

flynn create hello
git push flynn master
flynn env set GREETING=Servus
"""

import os
import platform


def app(environ, start_response):
    """Answer every request with a greeting; `/env` lists the app's environment."""
    path = environ["PATH_INFO"]
    print(f"{environ['REQUEST_METHOD']} {path}", flush=True)
    if path == "/env":
        body = "".join(f"{name}={value}\n" for name, value in sorted(os.environ.items()))
    else:
        greeting = os.environ.get("GREETING", "Hello")
        body = (
            f"{greeting} from Flynn on port {os.environ.get('PORT', '?')}\n"
            f"Python {platform.python_version()}, job {os.environ.get('FLYNN_JOB_ID', '?')}, "
            f"release {os.environ.get('FLYNN_RELEASE_ID', '?')}\n"
        )
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return [body.encode()]

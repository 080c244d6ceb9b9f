"""flynn-aio: the Flynn platform as an appliance for one machine.

One process and one Trio run hold the controller, the router, service discovery, the
scheduler, the log store and the git server. Each is a package here, and a package is
a door: others import from `flynn_aio.<package>` only.
"""

__version__ = "0.1.0"

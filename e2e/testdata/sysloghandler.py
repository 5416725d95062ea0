"""Sends messages with Python's own SysLogHandler, as the mail filter does.

usage: sysloghandler.py udp|tcp HOST PORT < JSON list of messages
"""
import json
import logging
import logging.handlers
import socket
import sys

network, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
handler = logging.handlers.SysLogHandler(
    (host, port), facility="mail",
    socktype=socket.SOCK_DGRAM if network == "udp" else socket.SOCK_STREAM)
handler.handleError = lambda record: sys.exit("a message could not be sent")
log = logging.getLogger("filter")
log.setLevel(logging.INFO)
log.addHandler(handler)
for message in json.load(sys.stdin):
    log.info("%s", message)
handler.close()

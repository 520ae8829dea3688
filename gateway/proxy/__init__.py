"""The data plane: sockets in, sockets out, on `asyncio.Protocol` and httptools (see docs/decisions/0001).

listener   binds and accepts
client     one client connection: bytes in, one exchange at a time
exchange   the request, top to bottom: start here
pool       which upstream connection
upstream   one upstream connection: a head out, an answer in
relay      bodies both ways
splice     instead, after 101
live       exchanges that outlast their decision, and how they end
steps      how an exchange waits without a task
plane      what all of them share
"""

"""The data plane: sockets in, sockets out, on `asyncio.Protocol` and httptools (see docs/decisions/0001).

    listener   binds, accepts, sweeps deadlines
    handshake  accepts where TLS is spoken, and counts before it is
    client     one client connection: bytes in, one exchange at a time
    exchange   the request, top to bottom
    pool       which upstream connection
    upstream   one upstream connection: a head out, an answer in, its body on to the client
    splice     instead, after 101
    live       exchanges that outlast their decision, and how they end
    refuse     how an exchange ends early
    report     what is told of it when it is over
    steps      how it waits without a task
    plane      what all of them share

Start with `exchange`.
"""

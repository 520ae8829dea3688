"""The data plane: sockets in, sockets out, on `asyncio.Protocol` and httptools (see docs/decisions/0001).

    listener   binds, accepts, sweeps deadlines
    handshake  accepts where TLS is spoken, and counts before it is
    client     one client connection: bytes in, one exchange at a time
    exchange   the request, top to bottom
    balancer   which address of an upstream
    health     whether an address is used, and when it is tried again
    check      asks an application how it is
    pool       which connection to an address, and who waits for one
    connector  how an address is connected to
    upstream   one upstream connection: a head out, an answer in, its body on to the client
    splice     instead, after 101
    live       exchanges that outlast their decision, and how they end
    refuse     how an exchange ends early
    report     what is told of it when it is over
    steps      how it waits without a task
    plane      what all of them share

Start with `exchange`.
"""

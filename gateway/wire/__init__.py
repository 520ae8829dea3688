"""HTTP/1.1 as bytes: heads, framing, paths, header rules. Pure: knows nothing of asyncio, sockets or time.

Read in this order: `head` (bytes to a request), `fields` (what each header field is to a proxy), `framing` (where a body
ends), `path` (one spelling of an address), `answer` (an upstream's response head), `respond` (what the gateway itself says).
"""

"""The benchmark: this gateway beside nginx, Envoy and a textbook gateway, measured alike in one run.

    python -m bench                       requests per second, CPU per request, latency, ratios and budgets
    python -m bench idle bodies ...       the other loads; `all` runs everything
    make bench ARGS="--quick --markdown"

The system under test, with its store, runs on one core; the load generator and the backend on another. Only ratios of
one run count: absolute figures differ between machines and hours.

    process     start, pin, watch and end processes; CPU time and memory of a process tree
    client      one HTTP/1.1 connection, for probes and for what wrk cannot do
    tokens      an issuer: key, key set, tokens
    wrk         one run of the load generator
    place       where a run happens: folder, cores, issuer, backend
    systems/    how each system under test is started
    peers/      configuration and source of the systems we compare with, and of the backends
    loads/      what is done to them
    budgets     what was promised, and whether it was reached
    report      tables for people, Markdown, JSON
    telemetry   what counting and logging cost by themselves: python -m bench.telemetry
"""

"""How long a test waits for what others bring about, before it calls it a failure.

One number for all, far above what anything takes: a test that waits is waiting for other processes, on a machine that more
processes share. It is a deadline, never an assertion; what is promised in seconds is asserted on what says the seconds.
"""

PATIENCE_S = 60.0

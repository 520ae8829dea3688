"""Which route a request takes: the first that matches its method and canonical path."""

"""Programs that live in environments of their own, and the processes that drive them."""

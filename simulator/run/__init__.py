"""One run, from its options to a judged result: set-up, phases, what is collected."""

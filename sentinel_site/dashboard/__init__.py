"""The pages that operators look at all day: what is going on, and why. They read from every app."""

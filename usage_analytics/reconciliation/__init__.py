"""Whether each message is at each hop once; where one is not, which."""

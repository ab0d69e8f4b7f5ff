"""What a check can ask this machine: a command, a TCP connection, what the kernel knows of USB."""

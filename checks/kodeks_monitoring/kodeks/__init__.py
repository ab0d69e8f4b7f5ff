"""What is known of a Kodeks server: its sentences, its license page, its login, its sysinfo report."""

"""USB forwarders: what is publicly known of each product, how it is asked, how its answers are judged."""

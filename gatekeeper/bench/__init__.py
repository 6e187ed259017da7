"""What `gatekeeper bench` needs to measure without an MTA or the Internet: client, next hop, DNS, letters."""

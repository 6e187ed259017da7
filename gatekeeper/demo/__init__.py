"""What `gatekeeper demo` needs so that no Internet and no MTA is needed: a next hop, a DNS zone, some telling mail."""

"""Questions to the DNS: one shared cache, lists, and their health."""

"""Pure codecs between bytes and values; the one reader of addresses and header fields."""

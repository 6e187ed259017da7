"""SPF, DKIM, DMARC and Authentication-Results as the standards have them, without opinion."""

"""What Label Studio's files and its server are like; the format itself is in `exchange`."""

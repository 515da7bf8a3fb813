"""Where mail lives: verbs as scripts, one text of SQL, blobs, hints."""

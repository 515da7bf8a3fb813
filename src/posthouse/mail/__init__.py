"""What mail is: addresses, headers, MIME, structure. Pure values and formats, standard library only."""

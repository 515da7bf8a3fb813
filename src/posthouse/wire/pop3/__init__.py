"""POP3 as it is spoken: octets to commands, replies to octets."""

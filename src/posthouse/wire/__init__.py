"""How protocols are spoken: engines that turn octets into events and responses into octets. Pure."""

"""The one error of everything that reads images."""


class BadImage(ValueError):
    """These bytes are not a usable image; the message is the reason, without the image's name."""

"""The errors of everything that reads images."""


class BadImage(ValueError):
    """These bytes are not a usable image; the message is the reason, without the image's name."""


class WrongSize(BadImage):
    """A good image, in another size than all the others."""

    def __init__(self, reason: str, height: int, width: int) -> None:
        super().__init__(reason)
        self.size = f"{height}x{width}"

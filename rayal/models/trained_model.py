"""A trained model: the one door to the weights of a network, in files and out of them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor, nn

from rayal.errors import UsageError
from rayal.models import weights
from rayal.models.build import load_whole
from rayal.models.card import ModelCard
from rayal.storage.folder import FileRecord, Folder
from rayal.storage.stage_file import FileLocation

WEIGHTS = "weights.safetensors"
"""What the file of a run's model is called."""


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """The weights of a network, and the card that says what they are weights of."""

    card: ModelCard
    state: Mapping[str, Tensor]
    """By the network's own names."""
    source: str = "the weights"
    """Where they are from, for messages."""

    @classmethod
    def of(cls, card: ModelCard, network: nn.Module) -> "TrainedModel":
        """A network as it is now; its weights are not copied."""
        return cls(card, weights.state(network))

    @classmethod
    def read(cls, file: FileLocation, card: ModelCard) -> "TrainedModel":
        """What a run has written, whose experiment knows the card: that of the file may name a part
        that only the run's own process can find, such as a class in a notebook.

        Raises StorageError where the file is not what the run wrote.
        """
        return cls.parse(file.read(), f"{file.folder}/{file.record.name}", card)

    @classmethod
    def parse(cls, data: bytes, source: str, card: ModelCard | None = None) -> "TrainedModel":
        """What `data` returned; the card is the file's own where none is given.

        Raises UsageError, with the `source`, for what is no such file.
        """
        card = card or ModelCard.parse(data, source)
        if card is None:
            raise UsageError(f"{source} does not say what it is; give weights of a rayal run")
        return cls(card, weights.decoded(data, source), source)

    @classmethod
    def adopted(cls, card: ModelCard, state: Mapping[str, Tensor], source: str) -> "TrainedModel":
        """Weights of others, by torchvision's names or rayal's, that are said to be of this card.

        Every weight has to fit, the last layer's too. Raises UsageError with the first that do not
        and, where the classes are all the difference, their number in the file.
        """
        network = card.untrained()
        load_whole(network, state, card.model, source)
        return replace(cls.of(card, network), source=source)

    def described(self, card: ModelCard) -> "TrainedModel":
        """The same weights with another card."""
        return replace(self, card=card)

    def like(self, other: "TrainedModel") -> str | None:
        """None, or why both are not models of one kind, whose predictions can be compared."""
        ours, theirs = self.card, other.card
        if (ours.model, ours.classes) == (theirs.model, theirs.classes):
            return None
        return (
            f"{other.source} is {theirs.model!r} for {len(theirs.classes)} classes, {self.source}"
            f" is {ours.model!r} for {len(ours.classes)}"
        )

    def network(self) -> nn.Module:
        """The network, on the CPU; a `pretrained` file is not read again.

        Raises UsageError where a weight is absent, not known or of another shape.
        """
        network = self.card.untrained()
        weights.put(network, self.state, self.source)
        return network

    def data(self) -> bytes:
        """As a file: safetensors that hold the card too; equal ones give equal bytes."""
        return weights.encoded(self.state, self.card.metadata())

    def write(self, out: Folder, name: str = WEIGHTS) -> FileRecord:
        """Puts it into a folder; raises StorageError where that cannot be."""
        return out.write(name, self.data())

"""CIFAR-100: 50,000 training and 10,000 test images, 32x32 colour, 100 (fine) classes."""

from typing import ClassVar

from torchvision import datasets

from rayal.data.datasets.cifar10 import Cifar10


class Cifar100(Cifar10):
    """As CIFAR-10, with the fine labels."""

    reader: ClassVar[type[datasets.CIFAR10]] = datasets.CIFAR100
    layout: ClassVar[str] = "the folder cifar-100-python of cifar-100-python.tar.gz"

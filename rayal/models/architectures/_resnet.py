"""What the parts of a ResNet are called."""

TRUNK = {
    "conv1.": "stem.0.",
    "bn1.": "stem.1.",
    "layer1.": "blocks.0.",
    "layer2.": "blocks.1.",
    "layer3.": "blocks.2.",
    "layer4.": "blocks.3.",
}
"""In torchvision -> here, all but the last layer."""
